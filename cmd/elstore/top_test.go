package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"elstore/api/client"
)

func TestActivities(t *testing.T) {
	began := time.Now()
	before := sample{began, []client.ExportInfo{
		{Attachment: "idle", Volume: "1", Reads: 7, ReadBytes: 7, ReadTime: 7},
		{Attachment: "busy", Volume: "2", Reads: 100, ReadBytes: 1e6, ReadTime: 5000, Writes: 10, WriteBytes: 10, WriteTime: 10, Errors: 1},
		{Attachment: "restarted", Volume: "3", Reads: 1000, ReadBytes: 1000, ReadTime: 1000},
		{Attachment: "ended", Volume: "4"},
	}}
	now := sample{began.Add(2 * time.Second), []client.ExportInfo{
		{Attachment: "idle", Volume: "1", Reads: 7, ReadBytes: 7, ReadTime: 7, Sessions: make([]client.ExportSession, 1)},
		{Attachment: "busy", Volume: "2", Reads: 300, ReadBytes: 9e6, ReadTime: 205_000, Writes: 30, WriteBytes: 4e6 + 10, WriteTime: 40_010, Errors: 5},
		{Attachment: "restarted", Volume: "3", Reads: 20, ReadBytes: 2e6, ReadTime: 2000},
		{Attachment: "new", Volume: "5", Writes: 2, WriteBytes: 2e6, WriteTime: 3000},
	}}
	want := []activity{
		{Volume: "2", ReadOps: 100, ReadMB: 4, ReadMS: 1, WriteOps: 10, WriteMB: 2, WriteMS: 2, Errors: 2},
		{Volume: "3", ReadOps: 10, ReadMB: 1, ReadMS: .1},
		{Volume: "5", WriteOps: 1, WriteMB: 1, WriteMS: 1.5},
		{Volume: "1", Sessions: 1},
	}
	got := activities(before, now)
	if len(got) != len(want) {
		t.Fatalf("got %+v", got)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("got %+v, want %+v", got[i], want[i])
		}
	}
}

func TestTop(t *testing.T) {
	quiet := `[{"volume_id": "` + webID + `", "attachment_id": "a", "client_uid": "` + bob + `", "type": "iscsi", "state": "standing", "sessions": []}]`
	busy := `[{"volume_id": "` + webID + `", "attachment_id": "a", "client_uid": "` + bob + `", "type": "iscsi", "state": "standing",
		"sessions": [{"initiator": "i", "remote": "r"}], "read_operations": 1000000, "read_bytes": 4096000000, "read_time_us": 250000000}]`
	record := ok(`{"volumeID": "` + webID + `", "name": "we\u001bb"}`)
	newScript(t, map[string][]reply{"POST /exports": {ok(quiet), ok(busy)}, "POST /info": {record}})
	out := succeeds(t, "top", "--once", "--interval", "100ms")
	lines := strings.Split(out, "\n")
	if len(lines) != 4 || !strings.HasPrefix(lines[0], "1 export, 1 session; reads ") || !strings.HasPrefix(lines[1], "VOLUME    NAME") {
		t.Fatalf("printed %q", out)
	}
	if row := strings.Fields(lines[2]); len(row) != 11 || row[0] != webID[:8] || row[1] != "we\uFFFDb" || row[2] != "iscsi" || row[6] != "0.25" || row[7] != "0" {
		t.Errorf("printed %q", row)
	}
	newScript(t, map[string][]reply{"POST /exports": {ok(quiet), ok(busy)}, "POST /info": {record}})
	var list []activity
	if err := json.Unmarshal([]byte(succeeds(t, "top", "--once", "--interval", "100ms", "--json")), &list); err != nil || len(list) != 1 || list[0].ReadMS != .25 || list[0].Volume != webID {
		t.Errorf("%v: %+v", err, list)
	}
	fails(t, exitUsage, "top", "--interval", "1ms")
}
