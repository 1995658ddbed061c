package scsi

import (
	"context"
	"encoding/binary"
	"slices"
	"strings"
)

// Service actions of PERSISTENT RESERVE OUT, SPC-4 table 216.
const (
	outRegister        = 0x00
	outReserve         = 0x01
	outRelease         = 0x02
	outClear           = 0x03
	outPreempt         = 0x04
	outPreemptAbort    = 0x05
	outRegisterIgnore  = 0x06
	outRegisterAndMove = 0x07
)

// outRequest is a PERSISTENT RESERVE OUT command with its parameter list.
type outRequest struct {
	lu     *LogicalUnit
	nexus  *Nexus
	action byte
	scope  byte
	kind   ReservationType

	key, actionKey uint64 // RESERVATION KEY, SERVICE ACTION RESERVATION KEY
	aptpl          bool
	allPorts       bool       // ALL_TG_PT
	initiators     []nexusKey // SPEC_I_PT, or the destination of REGISTER AND MOVE
	portID         uint16     // of REGISTER AND MOVE
	unregister     bool       // UNREG
}

// persistentReserveOut is PERSISTENT RESERVE OUT, SPC-4 section 6.16.
func persistentReserveOut(ctx context.Context, lu *LogicalUnit, n *Nexus, c *Command) answer {
	length := int(c.operation.length(&c.CDB))
	list, ok := c.parameters(length)
	if !ok || length < 24 {
		return illegal(ParameterListLengthError)
	}
	r := &outRequest{
		lu: lu, nexus: n, action: c.CDB[1] & 0x1f,
		scope: c.CDB[2] >> 4, kind: ReservationType(c.CDB[2] & 0x0f),
		key: binary.BigEndian.Uint64(list), actionKey: binary.BigEndian.Uint64(list[8:]),
	}
	parse := r.parseBasic
	if r.action == outRegisterAndMove {
		parse = r.parseMove
	}
	if a := parse(list); a.status != StatusGood {
		return a
	}
	return lu.amendAnswer(ctx, r.apply)
}

// parseBasic reads the rest of the basic parameter list, SPC-4 section 6.16.3.
func (r *outRequest) parseBasic(list []byte) answer {
	specified := list[20]&0x08 != 0 // SPEC_I_PT
	r.allPorts, r.aptpl = list[20]&0x04 != 0, list[20]&0x01 != 0
	switch {
	case specified && r.action != outRegister:
		return badParameter(20, 3)
	case !specified && len(list) != 24:
		return illegal(ParameterListLengthError)
	case r.allPorts && r.action != outRegister && r.action != outRegisterIgnore:
		r.allPorts = false // is to be ignored
	}
	if a := r.checkAPTPL(20); a.status != StatusGood || !specified {
		return a
	}
	if len(list) < 28 || int(binary.BigEndian.Uint32(list[24:])) != len(list)-28 {
		return illegal(ParameterListLengthError)
	}
	for at := 28; at < len(list); {
		id, ok := parseTransportID(list[at:])
		if !ok {
			return badParameter(at, wholeByte)
		}
		nexuses := r.lu.resolve(id, r.nexus.cfg.Port.Name)
		if len(nexuses) == 0 {
			return badParameter(at, wholeByte)
		}
		r.initiators = append(r.initiators, nexuses...)
		at += id.length
	}
	return good
}

// parseMove reads the rest of the parameter list of REGISTER AND MOVE, SPC-4 section 6.16.4.
func (r *outRequest) parseMove(list []byte) answer {
	r.unregister, r.aptpl = list[17]&0x02 != 0, list[17]&0x01 != 0
	r.portID = binary.BigEndian.Uint16(list[18:])
	if int(binary.BigEndian.Uint32(list[20:])) != len(list)-24 {
		return illegal(ParameterListLengthError)
	}
	if a := r.checkAPTPL(17); a.status != StatusGood {
		return a
	}
	id, ok := parseTransportID(list[24:])
	if !ok || id.length != len(list)-24 || id.session == "" {
		return badParameter(24, wholeByte)
	}
	r.initiators = []nexusKey{{initiator: id.portName()}}
	return good
}

func (r *outRequest) checkAPTPL(at int) answer {
	if r.aptpl && r.lu.cfg.Reservations == nil {
		return badParameter(at, 0)
	}
	return good
}

// apply does the service action.
func (r *outRequest) apply(m *amendment) (changed bool, a answer) {
	if r.lu.hasReserver() {
		return false, conflict // SPC-2 section 5.5.1: also for the nexus that has reserved
	}
	i := m.find(r.nexus.key)
	if i < 0 && r.action != outRegister && r.action != outRegisterIgnore ||
		r.action != outRegisterIgnore && r.key != m.keyOf(i) {
		return false, conflict
	}
	switch r.action {
	case outRegister, outRegisterIgnore:
		return r.register(m, i)
	case outReserve:
		return r.reserve(m)
	case outRelease:
		return r.release(m)
	case outClear:
		return r.clear(m)
	case outPreempt, outPreemptAbort:
		return r.preempt(m)
	}
	return r.move(m, i)
}

// keyOf returns the reservation key of a registration; a nexus that is not registered has zero.
func (r *Reservations) keyOf(i int) uint64 {
	if i < 0 {
		return 0
	}
	return r.Registrations[i].Key
}

// portsOf returns the ports of a SCSI target device through which the unit is reached.
func (lu *LogicalUnit) portsOf(target string) []Port {
	lu.mu.Lock()
	defer lu.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(lu.ports), func(p Port) bool { return p.Target != target })
}

func (lu *LogicalUnit) portByID(id uint16) (Port, bool) {
	lu.mu.Lock()
	defer lu.mu.Unlock()
	i := slices.IndexFunc(lu.ports, func(p Port) bool { return p.ID == id })
	if i < 0 {
		return Port{}, false
	}
	return lu.ports[i], true
}

// resolve returns the nexuses that a TransportID means at a port: one, or, where it names no ISID, all that
// the initiator has there now.
func (lu *LogicalUnit) resolve(id transportID, port string) (found []nexusKey) {
	if id.session != "" {
		return []nexusKey{{id.portName(), port}}
	}
	lu.mu.Lock()
	defer lu.mu.Unlock()
	for n := range lu.nexuses {
		if n.port == port && strings.HasPrefix(n.initiator, id.name+isidSeparator) {
			found = append(found, n)
		}
	}
	return found
}
