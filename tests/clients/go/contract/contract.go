// Package contract is what a program is given and what it prints; see ../../README.md.
package contract

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
)

// Call is the connection to make.
type Call struct {
	URL       string
	Protocols []string
	Headers   http.Header
}

// Arguments reads the call from the command line.
func Arguments() Call {
	call := Call{URL: os.Args[1], Headers: http.Header{}}
	if os.Args[2] != "" {
		call.Protocols = strings.Split(os.Args[2], ",")
	}
	for _, header := range os.Args[3:] {
		name, value, _ := strings.Cut(header, ": ")
		call.Headers.Add(name, value)
	}
	return call
}

// Lines hands on each line of the standard input, and calls end after the last.
func Lines(send func(string), end func()) {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		send(lines.Text())
	}
	end()
}

// Open is printed when the connection is there.
func Open(protocol string) { print(map[string]any{"open": protocol}) }

// Text is printed for each message.
func Text(text []byte) { print(map[string]any{"text": string(text)}) }

// Closed is printed where a Close came.
func Closed(code int, reason string) { print(map[string]any{"closed": code, "reason": reason}) }

// Failed is printed for any other error.
func Failed(err error) { print(map[string]any{"failed": err.Error()}) }

// Refused is printed where the handshake failed; answer may be nil.
func Refused(answer *http.Response, err error) {
	if answer == nil {
		Failed(err)
		return
	}
	body, _ := io.ReadAll(answer.Body)
	print(map[string]any{"refused": answer.StatusCode, "body": string(body)})
}

var lock sync.Mutex

func print(fact map[string]any) {
	lock.Lock()
	defer lock.Unlock()
	json.NewEncoder(os.Stdout).Encode(fact)
}
