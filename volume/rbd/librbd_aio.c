//go:build ceph

#include "librbd_aio.h"

#include <errno.h>
#include <sched.h>
#include <unistd.h>

_Static_assert(sizeof(struct aio_piece) == sizeof(struct iovec), "an aio_piece is no iovec");
_Static_assert(offsetof(struct aio_piece, length) == offsetof(struct iovec, iov_len), "an aio_piece is no iovec");

static void completed(rbd_completion_t c, void *arg) {
	struct aio_request *r = arg;
	struct aio_list *list = r->list;
	atomic_fetch_add(&list->completing, 1);
	r->result = rbd_aio_get_return_value(c);
	rbd_aio_release(c);
	struct aio_request *last = atomic_load(&list->last);
	do {
		r->next = last;
	} while (!atomic_compare_exchange_weak(&list->last, &last, r));
	if (last == NULL) { // else whoever put that one there wakes the owner
		uint64_t one = 1;
		while (write(list->wake, &one, sizeof one) < 0 && errno == EINTR) {
		}
	}
	atomic_fetch_sub(&list->completing, 1);
}

int aio_submit(rbd_image_t image, struct aio_request *r, int op, uint64_t off, uint64_t length) {
	rbd_completion_t c;
	int err = rbd_aio_create_completion(r, completed, &c);
	if (err < 0) {
		return err;
	}
	const struct iovec *iov = (const struct iovec *)r->pieces;
	switch (op) {
	case AIO_READ:
		err = rbd_aio_read(image, off, iov[0].iov_len, iov[0].iov_base, c);
		break;
	case AIO_WRITE:
		if (r->count == 1) {
			err = rbd_aio_write(image, off, iov[0].iov_len, iov[0].iov_base, c);
		} else {
			err = rbd_aio_writev(image, iov, (int)r->count, off, c);
		}
		break;
	case AIO_DISCARD:
		err = rbd_aio_discard(image, off, length, c);
		break;
	case AIO_ZERO:
		err = rbd_aio_write_zeroes(image, off, length, c, RBD_WRITE_ZEROES_FLAG_THICK_PROVISION, 0);
		break;
	case AIO_FLUSH:
		err = rbd_aio_flush(image, c);
		break;
	default:
		err = -EINVAL;
	}
	if (err < 0) { // it was not begun
		rbd_aio_release(c);
	}
	return err;
}

struct aio_request *aio_take(struct aio_list *list) {
	struct aio_request *r = atomic_exchange(&list->last, NULL), *first = NULL;
	while (r != NULL) {
		struct aio_request *earlier = r->next;
		r->next = first;
		first = r;
		r = earlier;
	}
	return first;
}

void aio_quiet(struct aio_list *list) {
	while (atomic_load(&list->completing) > 0) {
		sched_yield();
	}
}

struct extents {
	struct aio_extent *list;
	int count, most;
};

static int extent(uint64_t off, size_t length, int exists, void *arg) {
	struct extents *e = arg;
	if (!exists) {
		return 0;
	}
	if (e->count == e->most) {
		return -ECANCELED;
	}
	e->list[e->count++] = (struct aio_extent){off, length};
	return 0;
}

int aio_extents(rbd_image_t image, uint64_t off, uint64_t length, struct aio_extent *list, int most) {
	struct extents e = {list, 0, most};
	int err = rbd_diff_iterate2(image, NULL, off, length, 1, 1, extent, &e);
	if (err < 0 && e.count < most) {
		return err;
	}
	return e.count;
}
