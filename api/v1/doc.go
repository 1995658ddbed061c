// Package v1 is the JSON API of volumes, pools and exports, version 1.0: what each call takes, asks of the domain and answers.
// openapi.yaml says it all to clients; the tests hold the two together.
//
// A call that changes something runs as a job of volume.Jobs (changes in change.go): a client that hangs up does not
// cancel it, one that prefers not to wait gets the job, and one that sends an Idempotency-Key gets the first
// answer again instead of a second effect. Handlers decode, call and reply; all errors are faults, and api/rest
// answers with them.
//
// /export alone is no job, since its answer has secrets that no list of jobs may show: it is idempotent by itself.
//
// Who asks is what the request says (creatorID, client_uid): a request that names nobody may do everything,
// because without access control it could name anybody.
package v1
