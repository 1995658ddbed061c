package rbd

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"

	"elstore/volume"
	"elstore/volume/fault"
)

// userPrefix begins the names of the users that Credentials makes: elstore.<volume id>.<client id>.
const userPrefix = "elstore."

// usersKey is the note in an image that lists the users that may open it.
const usersKey = "elstore.users"

// Credentials makes a user of the cluster, or finds the one that it made before, that may do nothing but use this image, and goes when
// the image does, or is opened for writing by this server. The pool's own user must be allowed to make users. What keeps two from writing at once is the image's exclusive
// lock.
func (s *Store) Credentials(name string, id volume.ID, client volume.Client) (c volume.DirectAccess, err error) {
	c = volume.DirectAccess{Cluster: s.d.FSID(), Pool: s.cfg.Pool, Image: name, User: userPrefix + id.String() + "." + volume.ID(client).String()}
	err = s.bounded("make a Ceph user for the image", func() error {
		line, err := s.line(name)
		if err != nil {
			return err
		}
		if c.Monitors, err = s.d.Monitors(); err != nil {
			return err
		}
		// Noted first, so that no user outlives the image unseen.
		err = s.image(name, false, func(h Handle) error {
			users, err := h.Note(usersKey)
			if err != nil || slices.Contains(strings.Fields(users), c.User) {
				return err
			}
			return h.SetNote(usersKey, strings.TrimSpace(users+" "+c.User))
		})
		if err != nil {
			return err
		}
		c.Key, err = s.d.Grant(c.User, osdCaps(s.cfg.Pool, line))
		if n := errno(err); n == syscall.EACCES || n == syscall.EPERM {
			return fault.Errorf(fault.NotAllowed, "the Ceph user of this pool may not make users: give it the mon capability \"allow *\", or make the user by hand with the osd capabilities %s", osdCaps(s.cfg.Pool, line))
		}
		return err
	})
	if err != nil {
		return volume.DirectAccess{}, err
	}
	return c, nil
}

// maxLine bounds how many parents a clone may have one behind the other.
const maxLine = 64

// line returns an image, its parent, that one's parent, and so on.
func (s *Store) line(name string) (line []Identity, err error) {
	h, _, err := s.find(name, true)
	for range maxLine {
		if err != nil {
			return nil, err
		}
		var self, parent Identity
		self, err = h.Identity()
		if err == nil {
			parent, err = h.Parent()
		}
		err = errors.Join(err, h.Close())
		line = append(line, self)
		if err != nil || parent.ID == "" {
			return line, err
		}
		if h, err = s.d.Open(parent.Name, "", true); errno(err) == syscall.ENOENT {
			h, err = s.d.OpenTrashed(parent.ID)
		}
	}
	return line, errors.Join(err, h.Close())
}

// osdCaps are the capabilities on OSDs that let a user open the first image of line for writing, and read from the others.
func osdCaps(pool string, line []Identity) string {
	var caps []string
	allow := func(what, prefix string) {
		caps = append(caps, fmt.Sprintf("allow %s pool=%s object_prefix %s", what, pool, prefix))
	}
	for i, image := range line {
		may := "rwx"
		if i > 0 {
			may = "rx"
		}
		allow("rx", "rbd_id."+image.Name)
		for _, kind := range []string{"rbd_header.", "rbd_object_map.", "rbd_data."} {
			allow(may, kind+image.ID)
		}
	}
	allow("rx", "rbd_info") // where the pool's settings are
	if len(line) > 1 {      // where the parents' names are
		allow("rx", "rbd_trash")
		allow("rx", "rbd_directory")
	}
	return strings.Join(caps, ", ")
}

// revoke removes the users that were made for an image.
func (s *Store) revoke(users string) error {
	var errs []error
	for user := range strings.FieldsSeq(users) {
		if !strings.HasPrefix(user, userPrefix) {
			continue
		}
		if err := s.d.Revoke(user); err != nil {
			errs = append(errs, fmt.Errorf("remove the user %s: %w", user, err))
		}
	}
	return errors.Join(errs...)
}
