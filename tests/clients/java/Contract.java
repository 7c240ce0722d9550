import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.io.FileOutputStream;
import java.io.FileDescriptor;
import java.nio.charset.StandardCharsets;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Consumer;

/** What a program is given and what it prints; see ../README.md. */
final class Contract {
    private static final PrintStream OUT =
            new PrintStream(new FileOutputStream(FileDescriptor.out), false, StandardCharsets.UTF_8);

    /** The connection to make. */
    record Call(String url, List<String> protocols, Map<String, String> headers) {
        static Call of(String[] arguments) {
            var headers = new LinkedHashMap<String, String>();
            for (int at = 2; at < arguments.length; at++) {
                var parts = arguments[at].split(": ", 2);
                headers.put(parts[0], parts[1]);
            }
            var protocols = arguments[1].isEmpty() ? List.<String>of() : List.of(arguments[1].split(","));
            return new Call(arguments[0], protocols, headers);
        }
    }

    /** Hands on each line of the standard input, in a thread of its own, and calls `end` after the last. */
    static void lines(Consumer<String> send, Runnable end) {
        var thread = new Thread(() -> {
            try (var lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8))) {
                for (String line; (line = lines.readLine()) != null; ) send.accept(line);
            } catch (IOException closed) {
                // As its end.
            }
            end.run();
        });
        thread.setDaemon(true);
        thread.start();
    }

    static void open(String protocol) {
        print("{\"open\":" + quoted(protocol == null ? "" : protocol) + "}");
    }

    static void text(CharSequence text) {
        print("{\"text\":" + quoted(text) + "}");
    }

    /** The program ends with this and each of the following. `body` may be null. */
    static void refused(int status, String body) {
        last("{\"refused\":" + status + ",\"body\":" + quoted(body) + "}");
    }

    static void closed(int code, String reason) {
        last("{\"closed\":" + code + ",\"reason\":" + quoted(reason) + "}");
    }

    static void failed(Throwable error) {
        last("{\"failed\":" + quoted(error.toString()) + "}");
    }

    private static synchronized void print(String fact) {
        OUT.print(fact + "\n");
        OUT.flush();
    }

    private static void last(String fact) {
        print(fact);
        System.exit(0);
    }

    private static String quoted(CharSequence text) {
        if (text == null) return "null";
        var quoted = new StringBuilder(text.length() + 16).append('"');
        for (int at = 0; at < text.length(); at++) {
            char letter = text.charAt(at);
            if (letter == '"' || letter == '\\') quoted.append('\\').append(letter);
            else if (letter < ' ') quoted.append(String.format("\\u%04x", (int) letter));
            else quoted.append(letter);
        }
        return quoted.append('"').toString();
    }

    private Contract() {}
}
