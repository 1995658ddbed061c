package nbd

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"elstore/volume/nbdwire"
)

// maxOption is how many bytes an option may have: the longest name and what is asked of it.
const maxOption = 8 << 10

// maxOptions is how many a client may ask for before it begins.
const maxOptions = 64

// Sizes of requests, in bytes.
const (
	minBlock = 512
	goodSize = 4096
	maxData  = 4 << 20
)

var errAborted = errors.New("the client ended the handshake")

// greet begins the handshake. Without zeroes the client does without those that the oldest clients expect.
func greet(rw io.ReadWriter) (zeroes bool, err error) {
	greeting := binary.BigEndian.AppendUint64(nil, nbdwire.Magic)
	greeting = binary.BigEndian.AppendUint64(greeting, nbdwire.OptionMagic)
	greeting = binary.BigEndian.AppendUint16(greeting, nbdwire.FixedNewstyle|nbdwire.NoZeroes)
	if _, err := rw.Write(greeting); err != nil {
		return false, err
	}
	var flags [4]byte
	if _, err := io.ReadFull(rw, flags[:]); err != nil {
		return false, err
	}
	theirs := binary.BigEndian.Uint32(flags[:])
	if theirs&^(nbdwire.FixedNewstyle|nbdwire.NoZeroes) != 0 || theirs&nbdwire.FixedNewstyle == 0 {
		return false, fmt.Errorf("the client's flags are %#x", theirs)
	}
	return theirs&nbdwire.NoZeroes == 0, nil
}

// haggle answers options until answer says that what follows is something else. It reads nothing beyond the last one.
func haggle(rw io.ReadWriter, answer func(option uint32, data []byte) (begun bool, err error)) error {
	for range maxOptions {
		var header [16]byte
		if _, err := io.ReadFull(rw, header[:]); err != nil {
			return err
		}
		if binary.BigEndian.Uint64(header[:]) != nbdwire.OptionMagic {
			return errors.New("what came is no option")
		}
		option, length := binary.BigEndian.Uint32(header[8:]), int64(binary.BigEndian.Uint32(header[12:]))
		if length > maxOption {
			if _, err := io.CopyN(io.Discard, rw, min(length, 1<<20)); err != nil || length > 1<<20 {
				return fmt.Errorf("option %d has %d bytes", option, length)
			}
			if err := replyTo(rw, option, nbdwire.RepTooBig, nil); err != nil {
				return err
			}
			continue
		}
		data := make([]byte, length)
		if _, err := io.ReadFull(rw, data); err != nil {
			return err
		}
		begun, err := answer(option, data)
		if begun || err != nil {
			return err
		}
	}
	return errors.New("the client asks for options without end")
}

// answer answers one option. begun says that requests come next.
func answer(w io.Writer, e *Export, option uint32, data []byte, zeroes bool) (begun bool, err error) {
	switch option {
	case nbdwire.OptExportName: // without a way to refuse, and without a reply's header
		b := binary.BigEndian.AppendUint64(nil, uint64(e.Device.Size()))
		b = binary.BigEndian.AppendUint16(b, e.flags())
		if zeroes {
			b = append(b, make([]byte, 124)...)
		}
		_, err := w.Write(b)
		return true, err
	case nbdwire.OptAbort:
		return false, errors.Join(replyTo(w, option, nbdwire.RepAck, nil), errAborted)
	case nbdwire.OptList:
		if len(data) > 0 {
			return false, replyTo(w, option, nbdwire.RepInvalid, nil)
		}
		name := binary.BigEndian.AppendUint32(nil, uint32(len(e.Name)))
		return false, errors.Join(replyTo(w, option, nbdwire.RepServer, append(name, e.Name...)), replyTo(w, option, nbdwire.RepAck, nil))
	case nbdwire.OptInfo, nbdwire.OptGo:
		if name, ok := parseGo(data); !ok {
			return false, replyTo(w, option, nbdwire.RepInvalid, nil)
		} else if name != "" && name != e.Name {
			return false, replyTo(w, option, nbdwire.RepUnknown, nil)
		}
		info := binary.BigEndian.AppendUint16(nil, nbdwire.InfoExport)
		info = binary.BigEndian.AppendUint64(info, uint64(e.Device.Size()))
		info = binary.BigEndian.AppendUint16(info, e.flags())
		sizes := binary.BigEndian.AppendUint16(nil, nbdwire.InfoBlockSize)
		for _, n := range []uint32{minBlock, goodSize, maxData} {
			sizes = binary.BigEndian.AppendUint32(sizes, n)
		}
		err := errors.Join(replyTo(w, option, nbdwire.RepInfo, info), replyTo(w, option, nbdwire.RepInfo, sizes), replyTo(w, option, nbdwire.RepAck, nil))
		return option == nbdwire.OptGo, err
	}
	return false, replyTo(w, option, nbdwire.RepUnsup, nil)
}

// parseGo reads what NBD_OPT_INFO and NBD_OPT_GO come with: a name, and which information is wanted; all is given.
func parseGo(data []byte) (name string, ok bool) {
	if len(data) < 4 {
		return "", false
	}
	length := int64(binary.BigEndian.Uint32(data))
	rest := data[4:]
	if length > int64(len(rest))-2 {
		return "", false
	}
	name, rest = string(rest[:length]), rest[length:]
	return name, len(rest) == 2+2*int(binary.BigEndian.Uint16(rest))
}

func replyTo(w io.Writer, option, reply uint32, data []byte) error {
	b := binary.BigEndian.AppendUint64(nil, nbdwire.OptionReply)
	b = binary.BigEndian.AppendUint32(b, option)
	b = binary.BigEndian.AppendUint32(b, reply)
	b = binary.BigEndian.AppendUint32(b, uint32(len(data)))
	_, err := w.Write(append(b, data...))
	return err
}
