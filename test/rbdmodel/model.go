// Package rbdmodel is a model of a RADOS pool in memory, for tests of what is done with one: it keeps to what librbd was seen to do, and can
// fail at every single change. That the real one behaves so, the same tests show that run against a real cluster.
package rbdmodel

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"syscall"
	"time"

	"elstore/volume/rbd"
)

// Cluster is the pool, which outlives its clients.
type Cluster struct {
	mu      sync.Mutex
	images  map[string]*image // by id
	next    int
	clients int
	dead    bool          // nothing answers
	awake   chan struct{} // closed when it answers again
	users   map[string]string
}

type image struct {
	id, name string
	trashed  bool
	size     int64
	data     map[int64][]byte // by object
	snaps    []*snapshot
	parent   *snapshot // what is not in data is there
	notes    map[string]string
	owner    string // of the exclusive lock
	watchers map[*handle]bool
}

type snapshot struct {
	of     *image
	name   string
	hidden bool
	size   int64
	data   map[int64][]byte
	parent *snapshot
}

// objectSize is much smaller than that of RBD, so that small images have several.
const objectSize = 128 << 10

// New returns an empty pool.
func New() *Cluster { return &Cluster{images: map[string]*image{}, users: map[string]string{}} }

// Users returns the users that were made, and what they may do on OSDs.
func (c *Cluster) Users() map[string]string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.users)
}

// Images lists the names of all images, in the trash too.
func (c *Cluster) Images() (names []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, i := range c.images {
		names = append(names, i.name)
	}
	slices.Sort(names)
	return names
}

// Trashed reports whether an image of that name lies in the trash.
func (c *Cluster) Trashed(name string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, i := range c.images {
		if i.name == name && i.trashed {
			return true
		}
	}
	return false
}

// Needed reports whether clones need an image of that name.
func (c *Cluster) Needed(name string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, i := range c.images {
		if i.name == name && slices.ContainsFunc(i.snaps, c.needed) {
			return true
		}
	}
	return false
}

// Stop makes the cluster answer nobody until Start.
func (c *Cluster) Stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dead, c.awake = true, make(chan struct{})
}

// Start makes the cluster answer again.
func (c *Cluster) Start() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dead {
		c.dead = false
		close(c.awake)
	}
}

// Client returns a client of the pool, which asks step before each change, with what is to be done; nil is never.
func (c *Cluster) Client(step func(op string) error) *Client {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.clients++
	return &Client{c: c, name: fmt.Sprintf("client.%d", c.clients), step: step, open: map[*handle]bool{}}
}

// Client is one connection, and the rbd.Driver on it.
type Client struct {
	c    *Cluster
	name string
	step func(op string) error

	open    map[*handle]bool
	blocked bool // blocklisted
}

var _ rbd.Driver = (*Client)(nil)

// enter begins a request. What changes something is op; "" asks only. Where the cluster is dead, data waits, and the rest times out.
func (k *Client) enter(op string, data bool) error {
	for {
		k.c.mu.Lock()
		if !k.c.dead {
			break
		}
		awake := k.c.awake
		k.c.mu.Unlock()
		if !data {
			return syscall.ETIMEDOUT
		}
		<-awake
	}
	if k.blocked {
		k.c.mu.Unlock()
		return syscall.ESHUTDOWN
	}
	if op != "" && k.step != nil {
		if err := k.step("rbd " + op); err != nil {
			k.c.mu.Unlock()
			return err
		}
	}
	return nil
}

func (k *Client) leave() { k.c.mu.Unlock() }

func (c *Cluster) find(name string, trashed bool) *image {
	for _, i := range c.images {
		if i.name == name && i.trashed == trashed {
			return i
		}
	}
	return nil
}

func (c *Cluster) add(name string, size int64) (*image, error) {
	if c.find(name, false) != nil {
		return nil, syscall.EEXIST
	}
	c.next++
	i := &image{id: fmt.Sprintf("%x", c.next), name: name, size: size, data: map[int64][]byte{}, notes: map[string]string{}, watchers: map[*handle]bool{}}
	c.images[i.id] = i
	return i, nil
}

// FSID implements rbd.Driver.
func (k *Client) FSID() string { return "8a7b1bd1-0000-4000-8000-000000000001" }

// Ping implements rbd.Driver.
func (k *Client) Ping() error {
	if err := k.enter("", false); err != nil {
		return err
	}
	k.leave()
	return nil
}

// Create implements rbd.Driver.
func (k *Client) Create(name string, size int64) error {
	if err := k.enter("create", false); err != nil {
		return err
	}
	defer k.leave()
	_, err := k.c.add(name, size)
	return err
}

// Clone implements rbd.Driver.
func (k *Client) Clone(parent, snap, name string) error {
	if err := k.enter("clone", false); err != nil {
		return err
	}
	defer k.leave()
	p := k.c.find(parent, false)
	if p == nil {
		return syscall.ENOENT
	}
	s := p.snap(snap)
	if s == nil {
		return syscall.ENOENT
	}
	i, err := k.c.add(name, s.size)
	if err == nil {
		i.parent = s
	}
	return err
}

func (i *image) snap(name string) *snapshot {
	for _, s := range i.snaps {
		if s.name == name && !s.hidden {
			return s
		}
	}
	return nil
}

// needed reports whether clones need a snapshot.
func (c *Cluster) needed(s *snapshot) bool {
	for _, i := range c.images {
		if i.parent == s {
			return true
		}
		for _, t := range i.snaps {
			if t.parent == s {
				return true
			}
		}
	}
	return false
}

// settle removes the hidden snapshots that nobody needs any more.
func (c *Cluster) settle() {
	for _, i := range c.images {
		i.snaps = slices.DeleteFunc(i.snaps, func(s *snapshot) bool { return s.hidden && !c.needed(s) })
	}
}

// Rename implements rbd.Driver.
func (k *Client) Rename(name, to string) error {
	if err := k.enter("rename", false); err != nil {
		return err
	}
	defer k.leave()
	i := k.c.find(name, false)
	switch {
	case i == nil:
		return syscall.ENOENT
	case k.c.find(to, false) != nil:
		return syscall.EEXIST
	}
	i.name = to
	return nil
}

// Remove implements rbd.Driver.
func (k *Client) Remove(name string) error {
	if err := k.enter("remove", false); err != nil {
		return err
	}
	defer k.leave()
	return k.c.remove(k.c.find(name, false))
}

func (c *Cluster) remove(i *image) error {
	switch {
	case i == nil:
		return syscall.ENOENT
	case len(i.snaps) > 0:
		return syscall.ENOTEMPTY
	case len(i.watchers) > 0:
		return syscall.EBUSY
	}
	delete(c.images, i.id)
	c.settle()
	return nil
}

// Names implements rbd.Driver.
func (k *Client) Names() (names []string, err error) {
	if err := k.enter("", false); err != nil {
		return nil, err
	}
	defer k.leave()
	for _, i := range k.c.images {
		if !i.trashed {
			names = append(names, i.name)
		}
	}
	return names, nil
}

// TrashMove implements rbd.Driver.
func (k *Client) TrashMove(name string) error {
	if err := k.enter("trash move", false); err != nil {
		return err
	}
	defer k.leave()
	i := k.c.find(name, false)
	switch {
	case i == nil:
		return syscall.ENOENT
	case len(i.watchers) > 0:
		return syscall.EBUSY
	}
	i.trashed = true
	return nil
}

// TrashRestore implements rbd.Driver.
func (k *Client) TrashRestore(id, name string) error {
	if err := k.enter("trash restore", false); err != nil {
		return err
	}
	defer k.leave()
	i := k.c.images[id]
	switch {
	case i == nil || !i.trashed:
		return syscall.ENOENT
	case k.c.find(name, false) != nil:
		return syscall.EEXIST
	}
	i.trashed, i.name = false, name
	return nil
}

// TrashRemove implements rbd.Driver.
func (k *Client) TrashRemove(id string) error {
	if err := k.enter("trash remove", false); err != nil {
		return err
	}
	defer k.leave()
	return k.c.remove(k.c.images[id])
}

// Trashed implements rbd.Driver.
func (k *Client) Trashed() (list []rbd.Trashed, err error) {
	if err := k.enter("", false); err != nil {
		return nil, err
	}
	defer k.leave()
	for _, id := range slices.Sorted(maps.Keys(k.c.images)) {
		if i := k.c.images[id]; i.trashed {
			list = append(list, rbd.Trashed{ID: id, Name: i.name})
		}
	}
	return list, nil
}

// Grant implements rbd.Driver.
func (k *Client) Grant(user, osdCaps string) (string, error) {
	if err := k.enter("grant", false); err != nil {
		return "", err
	}
	defer k.leave()
	k.c.users[user] = osdCaps
	return "key of " + user, nil
}

// Revoke implements rbd.Driver.
func (k *Client) Revoke(user string) error {
	if err := k.enter("revoke", false); err != nil {
		return err
	}
	defer k.leave()
	delete(k.c.users, user)
	return nil
}

// Monitors implements rbd.Driver.
func (k *Client) Monitors() (string, error) { return "127.0.0.1:1", nil }

// Close implements rbd.Driver.
func (k *Client) Close() error {
	k.Kill()
	return nil
}

// Kill ends the client as the end of its process does: its locks stay.
func (k *Client) Kill() {
	k.c.mu.Lock()
	defer k.c.mu.Unlock()
	for h := range k.open {
		delete(h.i.watchers, h)
	}
	clear(k.open)
}

// Blocklist shuts the client out.
func (k *Client) Blocklist() {
	k.c.mu.Lock()
	defer k.c.mu.Unlock()
	k.blocked = true
}

// modified is when every image was last written to.
var modified = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
