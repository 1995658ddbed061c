package file

import "context"

// maker makes and removes the directories of volumes.
type maker interface {
	// make makes an empty directory of that name in the pool.
	make(ctx context.Context, pool *dir, name string) error
	// remove removes the directory of that name, below the pool, and all that is in it. It may be absent.
	remove(ctx context.Context, pool *dir, name string) error
	// inPlace reports whether the directories can't be renamed, so that volumes are made, and deleted, in their place.
	inPlace() bool
}

// plain makes directories.
type plain struct{}

func (plain) make(_ context.Context, pool *dir, name string) error   { return pool.mkdir(name) }
func (plain) remove(_ context.Context, pool *dir, name string) error { return pool.removeAll(name) }
func (plain) inPlace() bool                                          { return false }
