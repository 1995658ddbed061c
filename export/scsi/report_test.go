package scsi

import "testing"

func TestReportLuns(t *testing.T) {
	n := attach(t, newUnit(t, Config{}), 1)
	const lun0, none = "00000008 00000000 0000000000000000", "00000000 00000000"
	for selectReport, want := range map[string]string{"00": lun0, "02": lun0, "11": lun0, "01": none, "10": none, "12": none} {
		send(t, n, "a000 "+selectReport+" 000000 00001000 0000").wantData(t, want)
	}
	send(t, n, "a000 00 000000 00000010 0000").wantData(t, lun0)
	send(t, n, "a000 00 000000 0000000f 0000").want(t, "5/24/00").wantField(t, "c6")
	send(t, n, "a000 03 000000 00000010 0000").want(t, "5/24/00").wantField(t, "c2")
}

func TestReportTargetPortGroups(t *testing.T) {
	lu := newUnit(t, Config{})
	n := attach(t, lu, 1)
	send(t, n, "a30a 00000000 00001000 0000").wantData(t, "0000000c 00010001 00000001 00000001")
	if err := lu.AddPort(Port{Target: "iqn.y", Name: "iqn.y,t,0x0001", ID: 0x203}); err != nil {
		t.Fatal(err)
	}
	const two = "00010001 00000002 00000001 00000203"
	send(t, n, "a30a 00000000 00001000 0000").wantData(t, "00000010"+two)
	send(t, n, "a32a 00000000 00001000 0000").wantData(t, "00000014 10000000"+two)
	send(t, n, "a30a 00000000 00000004 0000").wantData(t, "00000010")
	send(t, n, "a34a 00000000 00001000 0000").want(t, "5/24/00").wantField(t, "c1.7")
	lu.RemovePort("iqn.y,t,0x0001")
	send(t, n, "a30a 00000000 00001000 0000").wantData(t, "0000000c 00010001 00000001 00000001")
}

func TestReportTaskManagementFunctions(t *testing.T) {
	n := attach(t, newUnit(t, Config{}), 1)
	send(t, n, "a30d 00000000 00001000 0000").wantData(t, "da000000")
	send(t, n, "a30d 80000000 00001000 0000").wantData(t, "da00000c 000000000000000000000000")
	send(t, n, "a30d 00000000 00000003 0000").want(t, "5/24/00").wantField(t, "c6")
}

func TestLogSense(t *testing.T) {
	n := attach(t, newUnit(t, Config{}), 1)
	send(t, n, "4d 00 40 00 00 0000 00ff 00").wantData(t, "00 00 0002 00 2f")
	send(t, n, "4d 00 40 ff 00 0000 00ff 00").wantData(t, "40 ff 0006 0000 00ff 2f00")
	send(t, n, "4d 00 6f 00 00 0000 00ff 00").wantData(t, "2f 00 0008 0000 03 04 00 00 00 00")
	send(t, n, "4d 00 6f 00 00 0000 0006 00").wantData(t, "2f 00 0008 0000")
	send(t, n, "4d 00 4d 00 00 0000 00ff 00").want(t, "5/24/00").wantField(t, "c2.5")
	send(t, n, "4d 00 40 01 00 0000 00ff 00").want(t, "5/24/00").wantField(t, "c3")
	send(t, n, "4d 01 40 00 00 0000 00ff 00").want(t, "5/24/00").wantField(t, "c1.0")
	send(t, n, "4d 00 6f 00 00 0001 00ff 00").want(t, "5/24/00").wantField(t, "c5")
}

func TestReadDefectData(t *testing.T) {
	n := attach(t, newUnit(t, Config{}), 1)
	send(t, n, "37 00 1d 00000000 00ff 00").wantData(t, "00 1d 0000")
	send(t, n, "b7 1d 00000000 000000ff 0000").wantData(t, "00 1d 0000 00000000")
	send(t, n, "b7 0d 00000000 00000004 0000").wantData(t, "00 0d 0000")
}

func TestNoUnit(t *testing.T) {
	tests := []struct{ name, cdb, want, data string }{
		{"INQUIRY", "12 00 00 00ff 00", "good", "7f 00 06 12 1f" + zeros22 + "000000000000000000"},
		{"INQUIRY of a page", "12 01 83 00ff 00", "5/24/00", ""},
		{"REPORT LUNS", "a000 00 000000 00001000 0000", "good", "00000008 00000000 0000000000000000"},
		{"REQUEST SENSE", "03 00 00 00 ff 00", "good", "70 00 05 00000000 0a 00000000 2500 00 000000"},
		{"TEST UNIT READY", "00", "5/25/00", ""},
		{"READ", "28 00 00000000 00 0001 00", "5/25/00", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := &Command{CDB: parseCDB(t, tt.cdb), In: make([]byte, 4096), Status: StatusBusy, Received: 7}
			NoUnit(c)
			r := reply{c, c.In[:c.Received]}
			r.want(t, tt.want)
			if tt.want == "good" {
				r.wantData(t, tt.data)
			} else if c.Received != 0 {
				t.Errorf("%d bytes of data", c.Received)
			}
		})
	}
}
