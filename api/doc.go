// Package api is the server of every HTTP API: it routes, guards, logs and stops. What a call means is the
// business of the packages below it (api/v1 and the facades), which hand it their routes.
//
// It promises that every answer to a request that net/http could read is JSON with a code where it is an error,
// that no path is redirected or cleaned, that no web page of another site reaches a handler, and that a slow or
// silent client holds nothing but its own connection, and not for long.
package api
