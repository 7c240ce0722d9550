import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.WebSocket;
import java.net.http.WebSocketHandshakeException;
import java.util.concurrent.CompletionException;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.CountDownLatch;

/** The WebSocket of java.net.http. */
final class Jdk implements WebSocket.Listener {
    // A message comes in parts.
    private final StringBuilder message = new StringBuilder();

    public static void main(String[] arguments) throws InterruptedException {
        var call = Contract.Call.of(arguments);
        var builder = HttpClient.newHttpClient().newWebSocketBuilder();
        call.headers().forEach(builder::header);
        if (!call.protocols().isEmpty()) {
            var others = call.protocols().subList(1, call.protocols().size());
            builder.subprotocols(call.protocols().get(0), others.toArray(String[]::new));
        }
        try {
            builder.buildAsync(URI.create(call.url()), new Jdk()).join();
        } catch (CompletionException error) {
            if (error.getCause() instanceof WebSocketHandshakeException refusal) {
                var answer = refusal.getResponse();
                Contract.refused(answer.statusCode(), answer.body() == null ? null : answer.body().toString());
            }
            Contract.failed(error.getCause());
        }
        new CountDownLatch(1).await(); // Contract ends the program
    }

    @Override
    public void onOpen(WebSocket socket) {
        Contract.open(socket.getSubprotocol());
        Contract.lines(
                line -> socket.sendText(line, true).join(), () -> socket.sendClose(WebSocket.NORMAL_CLOSURE, ""));
        socket.request(1);
    }

    @Override
    public CompletionStage<?> onText(WebSocket socket, CharSequence part, boolean last) {
        message.append(part);
        if (last) {
            Contract.text(message);
            message.setLength(0);
        }
        socket.request(1);
        return null;
    }

    @Override
    public CompletionStage<?> onClose(WebSocket socket, int code, String reason) {
        Contract.closed(code, reason);
        return null;
    }

    @Override
    public void onError(WebSocket socket, Throwable error) {
        Contract.failed(error);
    }
}
