// Command gorilla is github.com/gorilla/websocket.
package main

import (
	"errors"

	"github.com/gorilla/websocket"

	"lastseen/clients/contract"
)

func main() {
	call := contract.Arguments()
	dialer := *websocket.DefaultDialer
	dialer.Subprotocols = call.Protocols
	socket, answer, err := dialer.Dial(call.URL, call.Headers)
	if err != nil {
		contract.Refused(answer, err)
		return
	}
	contract.Open(socket.Subprotocol())
	go contract.Lines(
		func(line string) { socket.WriteMessage(websocket.TextMessage, []byte(line)) },
		func() { socket.Close() },
	)
	for {
		_, text, err := socket.ReadMessage()
		var closed *websocket.CloseError
		switch {
		case err == nil:
			contract.Text(text)
		case errors.As(err, &closed):
			contract.Closed(closed.Code, closed.Text)
			return
		default:
			contract.Failed(err)
			return
		}
	}
}
