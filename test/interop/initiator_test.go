package interop

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"time"

	"elstore/export/iscsi/pdu"
	"elstore/test/rig"
)

// patience is how long an initiator waits for one answer, and for a target that was restarted.
const patience = 60 * time.Second

// block is the logical block size of the disks, in bytes.
const block = 512

// initiator is an iSCSI initiator with one session and one command at a time. It is for one goroutine.
type initiator struct {
	portal, target, name string
	isid                 pdu.ISID

	conn   net.Conn
	reader *pdu.Reader
	cmdSN  pdu.SN
	itt    uint32
}

// newInitiator returns an initiator of a target that has not logged in yet. Its port is number's.
func newInitiator(t *rig.Target, name string, number byte) *initiator {
	return &initiator{portal: t.Portal, target: t.Name, name: "iqn.2004-10.cloud.elemento:" + name, isid: pdu.ISID{0, 2, 0x3d, 0, 0, number}}
}

func (i *initiator) close() {
	if i.conn != nil {
		i.reader.Close()
		_ = i.conn.Close()
		i.conn = nil
	}
}

// login logs in, and takes the unit attentions that come of it.
func (i *initiator) login(ctx context.Context) error {
	i.close()
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", i.portal)
	if err != nil {
		return err
	}
	i.conn, i.reader, i.cmdSN, i.itt = conn, pdu.NewReader(conn), 1, 1
	i.reader.SetLimits(pdu.Limits{MaxRecvDataSegmentLength: 1 << 20})
	_ = conn.SetDeadline(time.Now().Add(patience))
	var text []byte
	for _, pair := range [][2]string{
		{"InitiatorName", i.name},
		{"TargetName", i.target},
		{"SessionType", "Normal"},
		{"InitialR2T", "No"},
		{"ImmediateData", "Yes"},
		{"MaxRecvDataSegmentLength", "1048576"},
		{"FirstBurstLength", "262144"},
	} {
		text = pdu.AppendPair(text, pair[0], pair[1])
	}
	request := pdu.Login{Transit: true, CSG: pdu.OperationalNegotiation, NSG: pdu.FullFeaturePhase, ISID: i.isid, InitiatorTaskTag: 1, CID: 1, CmdSN: 1}
	var h pdu.BHS
	request.Encode(&h)
	if _, err := conn.Write(pdu.Append(nil, &h, nil, text, false, false)); err != nil {
		return err
	}
	in, err := i.reader.Next()
	if err != nil {
		return err
	}
	var answer pdu.LoginResponse
	answer.Decode(in.BHS)
	if answer.Status != pdu.Success {
		return fmt.Errorf("the login ended with %v", answer.Status)
	}
	for range 8 {
		if _, err = i.once(command{cdb: []byte{0}}); err == nil { // TEST UNIT READY
			return nil
		}
		if _, ok := errors.AsType[*answered](err); !ok {
			return err
		}
	}
	return err
}

// relogin logs in to a target that may not be there yet.
func (i *initiator) relogin(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		err := i.login(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the target does not come back: %w", err)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// command is a SCSI command.
type command struct {
	cdb  []byte
	data []byte // for the target
	in   int    // bytes to take from it
}

// answered is the error of a command that was answered with another status than GOOD.
type answered struct {
	status   uint8
	key      uint8  // sense key
	asc      uint16 // additional sense code and qualifier
	fromUnit bool   // there was sense data
}

func (a *answered) Error() string {
	return fmt.Sprintf("status %#02x, sense %#x/%#04x", a.status, a.key, a.asc)
}

const statusConflict = 0x18 // RESERVATION CONFLICT

// once sends a command and returns the data of its answer. An error that is no *answered ended the session.
func (i *initiator) once(c command) ([]byte, error) {
	i.itt++
	request := pdu.SCSICommand{
		Final: true, Read: c.in > 0, Write: len(c.data) > 0, InitiatorTaskTag: i.itt,
		ExpectedDataTransferLength: uint32(max(c.in, len(c.data))), CmdSN: i.cmdSN,
	}
	i.cmdSN++
	copy(request.CDB[:], c.cdb)
	var h pdu.BHS
	request.Encode(&h)
	_ = i.conn.SetDeadline(time.Now().Add(patience))
	if _, err := i.conn.Write(pdu.Append(nil, &h, nil, c.data, false, false)); err != nil {
		return nil, err
	}
	var data []byte
	for {
		in, err := i.reader.Next()
		if err != nil {
			return nil, err
		}
		switch op := in.BHS.Opcode(); op {
		case pdu.OpDataIn:
			data = append(data, in.Data...)
			var d pdu.DataIn
			if d.Decode(in.BHS); d.HasStatus {
				return data, nil
			}
		case pdu.OpSCSIResponse:
			var r pdu.SCSIResponse
			if r.Decode(in.BHS); r.Status == 0 {
				return data, nil
			}
			a := &answered{status: r.Status}
			if sense, ok := pdu.Sense(in.Data); ok && len(sense) > 13 {
				a.fromUnit, a.key, a.asc = true, sense[2]&0xf, binary.BigEndian.Uint16(sense[12:])
			}
			return data, a
		case pdu.OpNOPIn: // a ping: nobody waits for it while there are commands
		default:
			return nil, fmt.Errorf("got %v", op)
		}
	}
}

// do runs a command as a kernel does: unit attentions are taken and the command sent again, and where the session ends, it
// logs in again, for as long as that may take, and sends it again.
func (i *initiator) do(ctx context.Context, c command) ([]byte, error) {
	for {
		data, err := i.once(c)
		if err == nil {
			return data, nil
		}
		if a, ok := errors.AsType[*answered](err); ok {
			if a.fromUnit && a.key == 6 {
				continue
			}
			return data, err
		}
		if err := i.relogin(ctx); err != nil {
			return nil, err
		}
	}
}

func cdb10(op byte, lba, blocks int) []byte {
	b := make([]byte, 10)
	b[0] = op
	binary.BigEndian.PutUint32(b[2:], uint32(lba))
	binary.BigEndian.PutUint16(b[7:], uint16(blocks))
	return b
}

// write10 is WRITE(10). The data goes along at once, so that it has 256 KiB at most.
func write10(lba int, data []byte) command {
	return command{cdb: cdb10(0x2a, lba, len(data)/block), data: data}
}

// read10 is READ(10).
func read10(lba, blocks int) command {
	return command{cdb: cdb10(0x28, lba, blocks), in: blocks * block}
}

// flush is SYNCHRONIZE CACHE(10) of everything.
var flush = command{cdb: cdb10(0x35, 0, 0)}
