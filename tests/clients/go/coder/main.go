// Command coder is github.com/coder/websocket.
package main

import (
	"context"
	"errors"

	"github.com/coder/websocket"

	"lastseen/clients/contract"
)

func main() {
	call := contract.Arguments()
	ctx := context.Background()
	options := websocket.DialOptions{HTTPHeader: call.Headers, Subprotocols: call.Protocols}
	socket, answer, err := websocket.Dial(ctx, call.URL, &options)
	if err != nil {
		contract.Refused(answer, err)
		return
	}
	contract.Open(socket.Subprotocol())
	go contract.Lines(
		func(line string) { socket.Write(ctx, websocket.MessageText, []byte(line)) },
		func() { socket.Close(websocket.StatusNormalClosure, "") },
	)
	for {
		_, text, err := socket.Read(ctx)
		var closed websocket.CloseError
		switch {
		case err == nil:
			contract.Text(text)
		case errors.As(err, &closed):
			contract.Closed(int(closed.Code), closed.Reason)
			return
		default:
			contract.Failed(err)
			return
		}
	}
}
