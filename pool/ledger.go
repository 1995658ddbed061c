package pool

import (
	"bytes"
	"encoding/json"

	"elstore/volume/fault"
)

// LedgerFile holds the use of a shared pool, as all of its servers made it. It is read and written with LockFile
// locked, and replaced whole.
const LedgerFile = ".elstore-ledger"

const (
	maxLedger   = 1 << 20
	maxServers  = 60
	ledgerBound = 1 << 56 // of any number in it, so that no sum overflows: 72 PB
)

// tally is room that is used or reserved, or a change of it.
type tally struct {
	Volumes int64 `json:"volumes"`
	Bytes   int64 `json:"bytes"` // virtual, and of base images
	Write   int64 `json:"write"` // bytes that are to be written yet; only in reservations
}

func (t tally) plus(u tally) tally {
	return tally{t.Volumes + u.Volumes, t.Bytes + u.Bytes, t.Write + u.Write}
}

func (t tally) minus(u tally) tally {
	return tally{t.Volumes - u.Volumes, t.Bytes - u.Bytes, t.Write - u.Write}
}

// ledger is the content of LedgerFile. The pool's use is Counts and what its servers made.
type ledger struct {
	Sequence int64            `json:"sequence"`          // grows with every change
	Complete bool             `json:"complete"`          // Counts can be relied on
	Counts   tally            `json:"counts"`            // what the directory held, and what servers made that are gone
	Servers  map[string]entry `json:"servers,omitempty"` // those that use the pool, by serverKey
}

// entry is one server's part of a ledger. Only that server changes it, and always writes it whole from memory, so
// that a write that failed is made good by the next.
type entry struct {
	Holder   Holder `json:"holder"`
	Made     tally  `json:"made"`     // what it added to and took from the use
	Reserved tally  `json:"reserved"` // what its operations in flight may add
}

// others returns what counts against the pool's limits, but for what the server own made and reserved.
func (l *ledger) others(own string) (used, reserved tally) {
	used = l.Counts
	for key, e := range l.Servers {
		if key != own {
			used, reserved = used.plus(e.Made), reserved.plus(e.Reserved)
		}
	}
	return used, reserved
}

// drop takes out a server that is gone: what it made stays, and what it had reserved is free.
func (l *ledger) drop(key string) {
	l.Counts = l.Counts.plus(l.Servers[key].Made)
	delete(l.Servers, key)
}

// parseLedger reads a ledger. Pure.
func parseLedger(data []byte) (*ledger, error) {
	l := &ledger{}
	dec := json.NewDecoder(bytes.NewReader(data))
	if len(data) > maxLedger || dec.Decode(l) != nil || dec.More() {
		return nil, fault.Errorf(fault.PoolUnavailable, "%s can't be understood", LedgerFile)
	}
	sound := l.Sequence >= 0 && l.Sequence < ledgerBound && l.Counts.bounded() && len(l.Servers) <= maxServers
	for key, e := range l.Servers {
		r := e.Reserved
		sound = sound && isServerKey(key) && e.Made.bounded() && r.bounded() && r.Volumes >= 0 && r.Bytes >= 0 && r.Write >= 0
		e.Holder = e.Holder.clean()
		l.Servers[key] = e
	}
	if !sound {
		return nil, fault.Errorf(fault.PoolUnavailable, "%s holds impossible numbers", LedgerFile)
	}
	if l.Servers == nil {
		l.Servers = map[string]entry{}
	}
	return l, nil
}

// bounded reports whether the numbers are possible.
func (t tally) bounded() bool {
	for _, n := range []int64{t.Volumes, t.Bytes, t.Write} {
		if n > ledgerBound || n < -ledgerBound {
			return false
		}
	}
	return true
}

// encode writes the ledger.
func (l *ledger) encode() []byte {
	data, err := json.Marshal(l)
	if err != nil {
		panic("pool: a ledger can't be encoded: " + err.Error()) // it is numbers and texts
	}
	return append(data, '\n')
}
