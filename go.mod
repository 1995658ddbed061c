module elstore

go 1.26.0

require (
	github.com/tidwall/btree v1.8.2 // indirect
	golang.org/x/sys v0.49.0 // indirect
)
