// Package client is the Go client of the server's HTTP API, version 1.0.
//
// A Client's methods take a context first and may be called at the same time. What fails in the server comes
// back as an *Error, whose fault.Code fault.Is finds; a server that can't be reached as an *UnreachableError.
//
// Every call survives a broken line: it is sent again, a bounded number of times, and nothing is made twice,
// because calls that make something carry an Idempotency-Key and all others may be repeated.
//
// Calls that may take long return an Operation. The server goes on with it whether anybody waits or not;
// Operation.Wait follows it and tells how far it is.
//
//	c, err := client.New(client.Config{BaseURL: "http://127.0.0.1:7772"})
//	...
//	op, err := c.Create(ctx, client.CreateRequest{Creator: me, Name: "web", Size: 10e9})
//	if fault.Is(err, fault.VolumeNotAllocable) {
//		// no pool has room
//	}
//	...
//	volume, err := op.Wait(ctx, nil)
package client
