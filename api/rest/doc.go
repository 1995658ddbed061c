// Package rest turns HTTP into values and errors into statuses, in one place for every API that the server
// speaks: Decode reads a request strictly, Reply writes an answer, Error writes a failure, Status is the one
// table from fault.Kind to HTTP status.
//
// What Decode is strict about: keys match letter by letter, no key comes twice at any depth, the text is valid
// UTF-8, nothing follows the one JSON value, and nesting is bounded. Unknown keys are tolerated. What it does
// not look at is the Content-Type: clients send none, and curl then says form-urlencoded. For the same reason
// no handler may call Request.ParseForm, which would swallow the body.
package rest
