import java.io.IOException;
import okhttp3.OkHttpClient;
import okhttp3.Request;
import okhttp3.Response;
import okhttp3.WebSocket;
import okhttp3.WebSocketListener;

/** OkHttp. */
final class Ok extends WebSocketListener {
    public static void main(String[] arguments) {
        var call = Contract.Call.of(arguments);
        var request = new Request.Builder().url(call.url());
        call.headers().forEach(request::header);
        if (!call.protocols().isEmpty()) {
            request.header("Sec-WebSocket-Protocol", String.join(", ", call.protocols()));
        }
        new OkHttpClient().newWebSocket(request.build(), new Ok());
    }

    @Override
    public void onOpen(WebSocket socket, Response answer) {
        Contract.open(answer.header("Sec-WebSocket-Protocol"));
        Contract.lines(socket::send, () -> socket.close(1000, null));
    }

    @Override
    public void onMessage(WebSocket socket, String text) {
        Contract.text(text);
    }

    @Override
    public void onClosing(WebSocket socket, int code, String reason) {
        socket.close(1000, null); // the answer; without it onClosed does not come
    }

    @Override
    public void onClosed(WebSocket socket, int code, String reason) {
        Contract.closed(code, reason);
    }

    @Override
    public void onFailure(WebSocket socket, Throwable error, Response answer) {
        if (answer == null) Contract.failed(error);
        try {
            Contract.refused(answer.code(), answer.body().string());
        } catch (IOException broken) {
            Contract.failed(broken);
        }
    }
}
