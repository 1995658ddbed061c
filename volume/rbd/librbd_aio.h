// Requests to images on the cluster that need no thread while they wait: what librbd completes is put on a list, and the
// list's owner is woken by an eventfd.
#ifndef ELSTORE_LIBRBD_AIO_H
#define ELSTORE_LIBRBD_AIO_H

#include <rbd/librbd.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

enum aio_op { AIO_READ, AIO_WRITE, AIO_DISCARD, AIO_ZERO, AIO_FLUSH };

struct aio_list;

// aio_piece is an iovec whose pointer is a number to Go: it may be one to memory of Go, pinned while the request is under way, and no
// business of the garbage collector's afterwards.
struct aio_piece {
	uintptr_t at;
	size_t length;
};

// aio_request is one request. The caller has it before aio_submit and after aio_take.
struct aio_request {
	struct aio_request *next; // that aio_take returned with it
	struct aio_list *list;
	uint32_t number;         // the caller's
	uint32_t count;          // of pieces that are in use
	uint32_t room;           // of pieces
	struct aio_piece *pieces; // the data of a read or a write
	int64_t result;          // what librbd returns: bytes read, 0, or a negative errno
};

// aio_list is the completed requests that nobody took yet.
struct aio_list {
	_Atomic(struct aio_request *) last; // the others follow by next, the oldest at the end
	atomic_int completing;              // threads of librbd that use this list
	int wake;                           // the eventfd
};

// aio_submit begins a request, or returns a negative errno. Its memory must stay until aio_take returned it.
int aio_submit(rbd_image_t image, struct aio_request *r, int op, uint64_t off, uint64_t length);

// aio_take returns what was completed, in that order, or NULL.
struct aio_request *aio_take(struct aio_list *list);

// aio_quiet returns when no thread of librbd uses the list any more. All requests must have been taken.
void aio_quiet(struct aio_list *list);

// aio_extent is a part of an image that has data.
struct aio_extent {
	uint64_t off, length;
};

// aio_extents finds the first extents of a range, up to most. It returns how many there are, or a negative errno.
int aio_extents(rbd_image_t image, uint64_t off, uint64_t length, struct aio_extent *extents, int most);

#endif
