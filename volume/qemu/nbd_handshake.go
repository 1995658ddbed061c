package qemu

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"elstore/volume/nbdwire"
)

// nbdExport is what the handshake told about an export.
type nbdExport struct {
	size       int64
	flags      uint16
	structured bool   // replies may be structured
	context    uint32 // the id of base:allocation
	status     bool   // base:allocation was granted
	maxBlock   int64  // bytes of data that one request may carry
}

// Bounds of what a server may say in a handshake.
const (
	nbdMaxOptionReply   = 64 << 10
	nbdMaxOptionReplies = 64 // to one option
)

// nbdMaxData is how many bytes of data a request has at most. QEMU would take 32 MiB, and holds 16 requests of a
// connection in memory at a time. Who says nothing takes more than this too, by the specification.
const nbdMaxData = 4 << 20

// nbdNegotiate does the client's part of the handshake on conn for the export of that name, and fails when ctx ends.
func nbdNegotiate(ctx context.Context, conn net.Conn, name string) (nbdExport, error) {
	stop := context.AfterFunc(ctx, func() {
		_ = conn.SetDeadline(time.Unix(1, 0)) // what is under way fails; the caller closes it
	})
	e, err := nbdHandshake(conn, name)
	if !stop() && ctx.Err() != nil {
		return e, fmt.Errorf("NBD handshake: %w", context.Cause(ctx))
	}
	if err != nil {
		return e, fmt.Errorf("NBD handshake: %w", err)
	}
	return e, nil
}

func nbdHandshake(rw io.ReadWriter, name string) (e nbdExport, err error) {
	var greeting [18]byte
	if _, err := io.ReadFull(rw, greeting[:]); err != nil {
		return e, err
	}
	flags := binary.BigEndian.Uint16(greeting[16:])
	if binary.BigEndian.Uint64(greeting[:]) != nbdwire.Magic || binary.BigEndian.Uint64(greeting[8:]) != nbdwire.OptionMagic || flags&nbdwire.FixedNewstyle == 0 {
		return e, errors.New("the server does not speak fixed newstyle NBD")
	}
	answer := binary.BigEndian.AppendUint32(nil, uint32(flags&(nbdwire.FixedNewstyle|nbdwire.NoZeroes)))
	if _, err := rw.Write(answer); err != nil {
		return e, err
	}

	err = nbdOption(rw, nbdwire.OptStructuredReply, nil, nil)
	if err == nil {
		e.structured = true
		err = nbdOption(rw, nbdwire.OptSetMetaContext, nbdContextQuery(name), e.metaContext)
	}
	if err != nil && !errors.As(err, new(nbdRefusalError)) {
		return e, err
	}
	e.maxBlock = nbdMaxData
	ask := nbdName(nil, name)
	ask = binary.BigEndian.AppendUint16(ask, 1)
	ask = binary.BigEndian.AppendUint16(ask, nbdwire.InfoBlockSize)
	if err := nbdOption(rw, nbdwire.OptGo, ask, e.info); err != nil {
		return e, err
	}
	if e.flags&nbdwire.HasFlags == 0 {
		return e, errors.New("the server did not describe the export")
	}
	return e, nil
}

// nbdName appends a name with its length.
func nbdName(b []byte, name string) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(name)))
	return append(b, name...)
}

func nbdContextQuery(export string) []byte {
	b := nbdName(nil, export)
	b = binary.BigEndian.AppendUint32(b, 1)
	return nbdName(b, nbdwire.BaseAllocation)
}

// nbdRefusalError is a server's refusal of an option.
type nbdRefusalError struct {
	option, reply uint32
	msg           string
}

func (r nbdRefusalError) Error() string {
	return fmt.Sprintf("the server refused option %d with error %#x: %.200q", r.option, r.reply, r.msg)
}

// nbdOption asks for an option and takes the replies to it until it is acknowledged, or refused with an nbdRefusalError.
func nbdOption(rw io.ReadWriter, option uint32, data []byte, take func(reply uint32, data []byte) error) error {
	b := binary.BigEndian.AppendUint64(nil, nbdwire.OptionMagic)
	b = binary.BigEndian.AppendUint32(b, option)
	b = binary.BigEndian.AppendUint32(b, uint32(len(data)))
	if _, err := rw.Write(append(b, data...)); err != nil {
		return err
	}
	for range nbdMaxOptionReplies {
		var header [20]byte
		if _, err := io.ReadFull(rw, header[:]); err != nil {
			return err
		}
		reply, length := binary.BigEndian.Uint32(header[12:]), binary.BigEndian.Uint32(header[16:])
		if binary.BigEndian.Uint64(header[:]) != nbdwire.OptionReply || binary.BigEndian.Uint32(header[8:]) != option {
			return fmt.Errorf("the reply to option %d is no reply to it", option)
		}
		if length > nbdMaxOptionReply {
			return fmt.Errorf("the reply to option %d has %d bytes", option, length)
		}
		payload := make([]byte, length)
		if _, err := io.ReadFull(rw, payload); err != nil {
			return err
		}
		switch {
		case reply&nbdwire.RepError != 0:
			return nbdRefusalError{option, reply, string(payload)}
		case reply == nbdwire.RepAck:
			return nil
		case take == nil:
			return fmt.Errorf("the server answered option %d with %d", option, reply)
		}
		if err := take(reply, payload); err != nil {
			return err
		}
	}
	return fmt.Errorf("the server does not end its replies to option %d", option)
}

// metaContext takes the reply to NBD_OPT_SET_META_CONTEXT.
func (e *nbdExport) metaContext(reply uint32, data []byte) error {
	if reply != nbdwire.RepMetaContext || len(data) < 4 {
		return errors.New("the metadata context is malformed")
	}
	if string(data[4:]) == nbdwire.BaseAllocation {
		e.context, e.status = binary.BigEndian.Uint32(data), true
	}
	return nil
}

// info takes a reply to NBD_OPT_GO.
func (e *nbdExport) info(reply uint32, data []byte) error {
	if reply != nbdwire.RepInfo || len(data) < 2 {
		return errors.New("the description of the export is malformed")
	}
	switch kind := binary.BigEndian.Uint16(data); kind {
	case nbdwire.InfoExport:
		if len(data) != 12 {
			return errors.New("the description of the export is malformed")
		}
		size := binary.BigEndian.Uint64(data[2:])
		if size > 1<<63-1 {
			return fmt.Errorf("the export has %d bytes", size)
		}
		e.size, e.flags = int64(size), binary.BigEndian.Uint16(data[10:])
	case nbdwire.InfoBlockSize:
		if len(data) != 14 {
			return errors.New("the block sizes of the export are malformed")
		}
		const least = 64 << 10 // every server must take so much
		if most := binary.BigEndian.Uint32(data[10:]); most >= least {
			e.maxBlock = min(int64(most)&^0xfff, nbdMaxData)
		}
	}
	return nil
}
