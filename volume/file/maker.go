package file

import "context"

// maker makes and removes the directories of volumes.
type maker interface {
	// make makes an empty directory of that name in the pool.
	make(ctx context.Context, pool *dir, name string) error
	// remove removes the directory of that name, below the pool, and all that is in it.
	remove(ctx context.Context, pool *dir, name string) error
}

// plain makes directories.
type plain struct{}

func (plain) make(_ context.Context, pool *dir, name string) error   { return pool.mkdir(name) }
func (plain) remove(_ context.Context, pool *dir, name string) error { return pool.removeAll(name) }
