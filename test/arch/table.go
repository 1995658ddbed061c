package arch

import (
	"path"
	"strings"
)

// imports is the design's table of imports between our packages, complete: what is not listed is forbidden,
// and a package without a row may not exist. Folders are below the module; * stands for one element of a
// path, ** for any number, none included. The first row that fits a package is its row. Test files may
// import anything: they join real parts.
const imports = `
volume/fault, volume/keylock, export/scsi, export/iscsi/pdu       ->
volume/nbdwire                                                    ->
volume/durable, volume/fetch, api/rest, api/client                -> volume/fault
volume                                                            -> volume/fault, volume/keylock, volume/durable
volume/file                                                       -> volume, volume/fault, volume/durable, volume/qemu
volume/qemu                                                       -> volume, volume/fault, volume/durable, volume/nbdwire
volume/rbd, volume/volumetest                                     -> volume, volume/fault, volume/durable
pool                                                              -> volume, volume/fault, volume/durable
export/iscsi/login                                                -> export/iscsi/pdu
export/iscsi                                                      -> export/iscsi/pdu, export/iscsi/login, export/scsi
export                                                            -> export/iscsi/login, volume, volume/fault, volume/durable, volume/keylock
export/lun                                                        -> export, export/iscsi, export/iscsi/login, export/iscsi/pdu, export/scsi, volume, volume/fault
export/nbd                                                        -> volume/nbdwire
export/samba/fuse                                                 ->
export/nbd/session                                                -> export, export/nbd, volume, volume/fault
export/local                                                      -> export, export/nbd/session, volume, volume/fault
export/network                                                    -> export, export/nbd, export/nbd/session, export/iscsi/login, volume, volume/fault
export/samba                                                      -> export, export/samba/fuse, export/iscsi/login, volume, volume/fault
iso                                                               -> volume, volume/fault, volume/durable
cloudinit                                                         -> iso, volume, volume/fault, volume/durable
livemigration                                                     -> volume, export, volume/fault, volume/durable
api/access                                                        -> volume, volume/fault, volume/durable
api/audit                                                         -> volume/fault
api                                                               -> api/rest, api/access, api/audit, volume/fault
api/*                                                             -> api/rest, api/access, api/audit, volume/fault, volume, pool, export, iso, cloudinit, livemigration
cmd/**, test/**                                                   -> **
`

// reserved is who may import packages of others that are somebody's business: HTTP is known to api alone, but
// for the client that fetches images; signals and flags to the program; testing to what only tests import.
// Test files may import anything.
const reserved = `
net/http                -> api/**, volume/fetch, cmd/**, test/**
net/http/**             -> api/**, cmd/**, test/**
github.com/gorilla/mux  -> api/**
os/signal               -> cmd/**, test/**
flag                    -> cmd/**, test/**
testing, testing/**     -> volume/volumetest, test/**
`

// folders are the only ones at the top of the tree that hold code.
const folders = `cmd, volume, pool, export, cloudinit, iso, livemigration, api, test`

// unwanted are names of folders that say nothing about what is in them.
const unwanted = `internal, pkg, util, utils, common, helpers, misc`

// longest is the number of lines that a file may have; test files may be longer.
const longest = 500

// row is one line of a table: what stands left and right of the arrow.
type row struct{ left, right []string }

// parse reads a table.
func parse(table string) []row {
	var rows []row
	for line := range strings.Lines(table) {
		if left, right, ok := strings.Cut(line, "->"); ok {
			rows = append(rows, row{list(left), list(right)})
		}
	}
	return rows
}

// list reads words with commas between them.
func list(words string) []string {
	var out []string
	for word := range strings.SplitSeq(words, ",") {
		if word = strings.TrimSpace(word); word != "" {
			out = append(out, word)
		}
	}
	return out
}

// find returns the first row whose left side fits name.
func find(rows []row, name string) (row, bool) {
	for _, r := range rows {
		if fits(r.left, name) {
			return r, true
		}
	}
	return row{}, false
}

// fits reports whether one of the patterns fits name.
func fits(patterns []string, name string) bool {
	for _, pattern := range patterns {
		if base, below := strings.CutSuffix(pattern, "**"); below {
			if base == "" || name == strings.TrimSuffix(base, "/") || strings.HasPrefix(name, base) {
				return true
			}
			continue
		}
		if ok, _ := path.Match(pattern, name); ok { // the patterns stand above and are well-formed
			return true
		}
	}
	return false
}
