// Package metrics tells what a server does to whoever watches it: GET /metrics in the format of Prometheus, /healthz, which
// answers as long as the process lives, and /readyz, which answers 503 while it should get no new work.
//
// What the other packages count already is read from them when somebody asks; only requests and jobs are counted here. No label
// has values that a client can make up: routes are patterns, error codes and kinds of jobs are of lists, and series of single
// exports are at most MaxExports.
//
// Where callers are asked who they are, single exports are told to those who act for everybody, and pools to those who use them.
//
// Beside the code lie alerts.yaml, alert rules for Prometheus, and dashboard.json for Grafana; a test holds them to the names that are served.
package metrics
