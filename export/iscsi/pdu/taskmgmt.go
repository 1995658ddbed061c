package pdu

// Function is what a Task Management Function Request asks for; section 11.5.1.
type Function uint8

// The functions. Those from QueryTask on are RFC 7144's (section 4.1 there) and need iSCSIProtocolLevel 2.
const (
	AbortTask Function = iota + 1
	AbortTaskSet
	ClearACA
	ClearTaskSet
	LogicalUnitReset
	TargetWarmReset
	TargetColdReset
	TaskReassign
	QueryTask
	QueryTaskSet
	ITNexusReset
	QueryAsyncEvent
)

// TaskMgmt is a Task Management Function Request; section 11.5.
type TaskMgmt struct {
	Immediate         bool
	Function          Function
	TotalAHSLength    int // always 0; section 11.5.2
	DataSegmentLength int // always 0; section 11.5.2
	LUN               uint64
	InitiatorTaskTag  uint32
	ReferencedTaskTag uint32 // the task to abort or reassign, else ReservedTag; section 11.5.4
	CmdSN             SN
	ExpStatSN         SN
	RefCmdSN          SN // the CmdSN of the task to abort; section 11.5.5
	ExpDataSN         SN // for TaskReassign; section 11.5.6
}

// Decode takes the fields out of h, whose opcode is OpTaskMgmt.
func (t *TaskMgmt) Decode(h *BHS) {
	t.Immediate, t.Function = h.Immediate(), Function(h[1]&0x7f)
	t.TotalAHSLength, t.DataSegmentLength = h.TotalAHSLength(), h.DataSegmentLength()
	t.LUN, t.InitiatorTaskTag, t.ReferencedTaskTag = h.LUN(), h.InitiatorTaskTag(), h.get32(20)
	t.CmdSN, t.ExpStatSN = h.CmdSN(), h.ExpStatSN()
	t.RefCmdSN, t.ExpDataSN = SN(h.get32(32)), SN(h.get32(36))
}

// Encode makes h the header of t.
func (t *TaskMgmt) Encode(h *BHS) {
	h.begin(OpTaskMgmt, t.Immediate, flagFinal|byte(t.Function)&0x7f, t.TotalAHSLength, t.DataSegmentLength)
	h.put64(8, t.LUN)
	h.put32(16, t.InitiatorTaskTag)
	h.put32(20, t.ReferencedTaskTag)
	h.put32(24, uint32(t.CmdSN))
	h.put32(28, uint32(t.ExpStatSN))
	h.put32(32, uint32(t.RefCmdSN))
	h.put32(36, uint32(t.ExpDataSN))
}

// FunctionResponse is how a task management function ended; section 11.6.1.
type FunctionResponse uint8

// The responses. FunctionSucceeded is RFC 7144's (section 4.2 there), for the functions that query.
const (
	FunctionComplete         FunctionResponse = 0
	TaskDoesNotExist         FunctionResponse = 1
	LUNDoesNotExist          FunctionResponse = 2
	TaskStillAllegiant       FunctionResponse = 3
	ReassignmentNotSupported FunctionResponse = 4
	FunctionNotSupported     FunctionResponse = 5
	FunctionNotAuthorized    FunctionResponse = 6
	FunctionSucceeded        FunctionResponse = 7
	FunctionRejected         FunctionResponse = 255
)

// TaskMgmtResponse is a Task Management Function Response; section 11.6.
type TaskMgmtResponse struct {
	Response         FunctionResponse
	InitiatorTaskTag uint32
	TargetSN         // StatSN, ExpCmdSN, MaxCmdSN
}

// Decode takes the fields out of h, whose opcode is OpTaskMgmtResponse.
func (t *TaskMgmtResponse) Decode(h *BHS) {
	t.Response, t.InitiatorTaskTag = FunctionResponse(h[2]), h.InitiatorTaskTag()
	t.decodeSN(h)
}

// Encode makes h the header of t.
func (t *TaskMgmtResponse) Encode(h *BHS) {
	h.begin(OpTaskMgmtResponse, false, flagFinal, 0, 0)
	h[2] = byte(t.Response)
	h.put32(16, t.InitiatorTaskTag)
	t.encodeSN(h)
}
