package main

import (
	"fmt"
	"maps"
	"strings"
	"testing"
)

const (
	made = `{"vid":"` + webID + `","creatorID":"` + anybody + `","name":"web","img_format":"raw","pool":"fast","size":10}`

	poolList = `[{"name":"fast","path":"/mnt/fast","valid":true,"file_system":"xfs","unique":false,"shared":false,"ceph":false,"reflink":true,` +
		`"formats":["raw","qcow2"],"limits":{"max_volumes":50,"max_volume_size":50000000000,"max_total_size":200000000000},` +
		`"used":{"volumes":3,"bytes":31000000000,"base":0},"reserved":{"volumes":1,"bytes":500,"base":0},` +
		`"bin":{"volumes":1,"bytes":1000000000,"retention":"24h0m0s","keep":true},"free_bytes":812345678901,"reserve_bytes":1000000000},` +
		`{"name":"old","path":"/mnt/old","valid":false,"reason":"max-volumes is -1; it must be 0 or more","formats":[],` +
		`"limits":{"max_volumes":null,"max_volume_size":null,"max_total_size":null},"used":{},"reserved":{},"bin":{"retention":"1h30m0s"},"free_bytes":null},` +
		`{"name":"","path":"/mnt/fast/inner","valid":false,"reason":"it lies inside the pool /mnt/fast, whose settings.json counts"}]`

	runningJob = `{"id":"` + jobID + `","kind":"clone","state":"running","volumes":["` + webID + `"],"owner":"` + anybody + `",` +
		`"bytes_done":2500000000,"bytes_total":10000000000,"created":"2026-01-02T03:04:05.678Z"}`
	failedJob = `{"id":"` + jobID + `","kind":"convert","state":"failed","volumes":["` + webID + `"],"bytes_done":1,"bytes_total":0,` +
		`"created":"2026-01-02T03:04:05.678Z","ended":"2026-01-02T03:05:05.678Z","error":"no pool has room","code":"VolumeNotAllocable"}`
	cancelledJob = `{"id":"` + jobID + `","kind":"clone","state":"cancelled","error":"the job was cancelled","code":"JobCancelled","bytes_done":1,"bytes_total":2,"created":"2026-01-02T03:04:05Z"}`
)

const (
	exportAnswer = `{"volume_id":"` + webID + `","client_uid":"` + anybody + `","type":"iscsi","attachment_id":"` + otherID + `","epoch":1,` +
		`"since":"2026-01-02T03:04:05Z","readonly":false,"multipath":false,"uri":"iscsi://u%s@192.0.2.1:3260/iqn.t/0","target":"iqn.t",` +
		`"portals":["192.0.2.1:3260","[2001:db8::1]:3260"],"lun":0,"user":"u","secret":"s","peer_user":"pu","peer_secret":"ps",` +
		`"object":{"qom-type":"secret","id":"x","data":"s"},"blockdev":{"driver":"raw"},"iscsiadm":["iscsiadm one","iscsiadm two"],` +
		`"libvirt":{"disk":"<disk/>","secret":"<secret/>"}}`
	exportInfo = `{"volume_id":"` + webID + `","client_uid":"` + bob + `","type":"iscsi","attachment_id":"` + otherID + `","epoch":3,` +
		`"since":"2026-01-02T03:04:05.123Z","readonly":true,"multipath":true,"initiator":"iqn.only","migration_id":"m","pool":"fast","target":"iqn.t",` +
		`"portals":["192.0.2.1:3260"],"state":"standing","rates":{},"sessions":[{"initiator":"iqn.only\u001b[31m","remote":"192.0.2.9:40000","since":"2026-01-02T03:05:06Z"}],` +
		`"read_operations":1,"read_bytes":4096,"write_operations":2,"write_bytes":5000000,"other_operations":9,"errors":7}`
)

const (
	askedMigration = `{"migration_id":"` + jobID32 + `","state":"PREPARED","pen":"source","pen_asked":true,"here":"destination","other_server":"5e5e",` +
		`"other_host":"node1","source":{"client_uid":"` + anybody + `"},"destination":{"client_uid":"` + bob + `"},"began":"2026-01-02T03:04:05Z",` +
		`"deadline":"2026-01-02T03:34:05Z","volumes":[]}`
	preparedMigration = `{"migration_id":"` + jobID32 + `","state":"PREPARED","pen":"source","source":{"client_uid":"` + anybody + `"},` +
		`"destination":{"client_uid":"` + bob + `","initiator":"iqn.node2","host":"node2"},"began":"2026-01-02T03:04:05Z","deadline":"2026-01-02T03:34:05Z",` +
		`"volumes":[{"volume_id":"` + webID + `","source_attachment_id":"` + otherID + `","attachment_id":"` + jobID32 + `","sessions":[],"uri":"iscsi://u%s@192.0.2.1:3260/iqn.t/0","user":"u","secret":"s"}]}`
	concludingMigration = `{"migration_id":"` + jobID32 + `","state":"CONCLUDING","pen":"destination","waiting":"not yet","source":{"client_uid":"` + anybody + `"},` +
		`"destination":{"client_uid":"` + bob + `"},"began":"2026-01-02T03:04:05Z","deadline":"2026-01-02T03:34:05Z","alarm":"late",` +
		`"volumes":[{"volume_id":"` + webID + `","sessions":[{"initiator":"iqn.only\u001b[31m","remote":"192.0.2.9:40000","since":"2026-01-02T03:05:06Z"}]}]}`
	concludedMigration = `{"migration_id":"` + jobID32 + `","state":"STABLE","pen":"destination","owner":"destination","source":{"client_uid":"` + anybody + `"},` +
		`"destination":{"client_uid":"` + bob + `"},"began":"2026-01-02T03:04:05Z","deadline":"2026-01-02T03:34:05Z","ended":"2026-01-02T03:06:05Z","volumes":[]}`
	stuckMigration = `{"migration_id":"` + jobID32 + `","state":"NEEDS_OPERATOR","pen":"","alarm":"gone","source":{"client_uid":"` + anybody + `"},` +
		`"destination":{"client_uid":"` + bob + `"},"began":"2026-01-02T03:04:05Z","deadline":"2026-01-02T03:34:05Z","volumes":[]}`
	jobID32 = "0123456789abcdef0123456789abcdee"
)

const cephAnswer = `{"volume_id":"` + webID + `","client_uid":"` + anybody + `","cluster":"f","monitors":["192.0.2.1:6789","192.0.2.2:6789"],"ceph_pool":"volumes",` +
	`"image":"elstore.x","user":"elstore.u","key":"k==","conf":"[global]\nfsid = f\n","keyring":"[client.elstore.u]\n\tkey = k==\n",` +
	`"uri":"rbd:volumes/elstore.x:id=elstore.u","object":{"id":"x"},"blockdev":{"driver":"rbd"}}`

func doneJob(result string) string {
	return `{"id":"` + jobID + `","kind":"clone","state":"done","bytes_done":9,"bytes_total":9,"created":"2026-01-02T03:04:05Z","result":` + result + `}`
}

// TestOutput holds what every command prints, its code, and what it asks of the server, in golden files.
func TestOutput(t *testing.T) {
	type answers = map[string][]reply
	var (
		echo   = ok(`{"vid":"` + webID + `"}`)
		byName = ok(list(record(webID, "web", "")))
		found  = answers{"POST /accessible": {byName}}
	)
	with := func(path string, replies ...reply) answers {
		a := answers{path: replies}
		maps.Copy(a, found)
		return a
	}
	long := record(otherID, strings.Repeat("n", 60), `,"private":true,"exported":true,"exports":["iscsi:a","iscsi:b"],"locked":true,"operation":"clone","available":false,"iso_type":"tool"`)
	tests := []struct {
		name    string
		args    string
		answers answers
	}{
		{"pool/list", "pool list", answers{"GET /pools": {ok(poolList)}}},
		{"pool/list-none", "pool list", answers{"GET /pools": {ok(`[]`)}}},
		{"pool/list-quiet", "pool list -q", answers{"GET /pools": {ok(poolList)}}},
		{"pool/list-json", "pool list --json", answers{"GET /pools": {ok(poolList)}}},
		{"pool/show", "pool show fast", answers{"GET /pools/fast": {ok(strings.Split(poolList[1:], `,{"name":"old"`)[0])}}},
		{"pool/show-none", "pool show none", answers{"GET /pools/none": {refuses(404, "PoolNotFound", `no pool is named "none"`)}}},
		{"pool/refresh", "pool refresh", answers{"POST /pools/refresh": {ok(`[{"name":"fast","came":1,"went":0},{"name":"slow","came":0,"went":2}]`)}}},
		{"pool/refresh-two", "pool refresh fast none", answers{"POST /pools/refresh": {ok(`[{"name":"fast","came":0,"went":0}]`), refuses(404, "PoolNotFound", `no pool is named "none"`)}}},

		{"export/export", "export web", with("POST /export", ok(exportAnswer))},
		{"export/to", "export web --to " + strings.ToUpper(bob) + " --initiator iqn.x --readonly --multipath=false --portal a:1 --rotate --read-mb 12.5 --write-iops 0 -q", with("POST /export", ok(exportAnswer))},
		{"export/json", "export web --json", with("POST /export", ok(exportAnswer))},
		{"export/for-uri", "export web --for uri", with("POST /export", ok(exportAnswer))},
		{"export/for-qemu", "export web --for qemu", with("POST /export", ok(exportAnswer))},
		{"export/for-iscsiadm", "export web --for iscsiadm", with("POST /export", ok(exportAnswer))},
		{"export/for-libvirt", "export web --for libvirt", with("POST /export", ok(exportAnswer))},
		{"export/for-nothing", "export web --for libvirt", with("POST /export", ok(`{"type":"local","uri":"nbd+unix://"}`))},
		{"export/for-fax", "export web --for fax", answers{}},
		{"export/to-nobody", "export web --to bob", found},
		{"export/refused", "export web", with("POST /export", refuses(409, "VolumeAlreadyExported", "volume "+webID+" is exported to client "+bob+" already"))},
		{"export/recover", "export recover web --old-host-is-off", with("POST /export", ok(exportAnswer))},
		{"export/list", "export list --to " + bob, answers{"POST /exports": {ok("[" + exportInfo + "]")}}},
		{"export/list-quiet", "export list -q", answers{"POST /exports": {ok("[" + exportInfo + "]")}}},
		{"export/list-json", "export list --json", answers{"POST /exports": {ok("[" + exportInfo + "]")}}},
		{"export/orphans", "export list --orphans", answers{"POST /exports": {ok(`[{"volume_id":"` + webID + `","problem":"the marker x is of nobody"}]`)}}},
		{"export/show", "export show web", with("POST /exports", ok("["+exportInfo+"]"))},
		{"export/show-none", "export show web", with("POST /exports", ok("[]"))},
		{"migration/prepare", "migration prepare web --to " + bob + " --initiator iqn.node2 --host node2 --timeout 10m", with("POST /livemigration/prepare", ok(preparedMigration))},
		{"migration/prepare-json", "migration prepare web --json --source-initiator iqn.node1", with("POST /livemigration/prepare", ok(preparedMigration))},
		{"migration/prepare-nothing", "migration prepare", answers{}},
		{"migration/prepare-to-nobody", "migration prepare web --to x", found},
		{"migration/list", "migration list --of " + bob, answers{"GET /livemigration?client_uid=" + bob: {ok("[" + concludingMigration + "," + concludedMigration + "," + askedMigration + "]")}}},
		{"migration/list-quiet", "migration list -q", answers{"GET /livemigration": {ok("[" + concludingMigration + "]")}}},
		{"migration/list-json", "migration list --json", answers{"GET /livemigration": {ok("[" + concludingMigration + "]")}}},
		{"migration/show", "migration show " + jobID32, answers{"GET /livemigration/" + jobID32: {ok(concludingMigration)}}},
		{"migration/show-asked", "migration show " + jobID32, answers{"GET /livemigration/" + jobID32: {ok(askedMigration)}}},
		{"migration/show-what", "migration show web", answers{}},
		{"migration/conclude", "migration conclude " + strings.ToUpper(jobID32) + " --force", answers{"POST /livemigration/conclude": {ok(concludingMigration), ok(concludedMigration)}}},
		{"migration/conclude-early", "migration conclude " + jobID32, answers{"POST /livemigration/conclude": {refuses(412, "ConditionFailed", "the destination is not logged in")}}},
		{"migration/conclude-stuck", "migration conclude " + jobID32, answers{"POST /livemigration/conclude": {ok(stuckMigration)}}},
		{"migration/revert", "migration revert " + jobID32 + " --assert-source-running -q", answers{"POST /livemigration/revert": {ok(concludedMigration)}}},
		{"migration/resolve", "migration resolve " + jobID32 + " destination", answers{"POST /livemigration/resolve": {ok(concludedMigration)}}},
		{"migration/resolve-both", "migration resolve " + jobID32 + " both", answers{}},
		{"unexport/unexport", "unexport web", with("POST /unexport", ok(`{"volume_id":"`+webID+`"}`))},
		{"unexport/from", "unexport web --from " + bob + " --type iscsi --if-idle --json", with("POST /unexport", ok(`{"volume_id":"`+webID+`"}`))},
		{"unexport/busy", "unexport web --if-idle", with("POST /unexport", refuses(409, "ExportBusy", "volume is in use by iqn.machine at 192.0.2.9:40000"))},

		{"volume/create", "volume create web --size 10G --format qcow2 --pool fast --private --clonable=false", answers{"POST /create": {ok(made)}}},
		{"volume/create-job", "volume create web --size 1.5Ti --preallocation full", answers{"POST /create": {goesOn()}, "GET /jobs/" + jobID: {ok(runningJob), ok(doneJob(made))}}},
		{"volume/create-no-wait", "volume create web --size 10 --no-wait", answers{"POST /create": {goesOn()}}},
		{"volume/create-no-wait-quiet", "volume create web --size 10 --no-wait -q", answers{"POST /create": {goesOn()}}},
		{"volume/create-no-wait-json", "volume create web --size 10 --no-wait --json", answers{"POST /create": {goesOn()}, "GET /jobs/" + jobID: {ok(runningJob)}}},
		{"volume/create-quiet", "-q volume create web --size 10", answers{"POST /create": {ok(made)}}},
		{"volume/create-json", "volume create web --size 10 --json", answers{"POST /create": {ok(made)}}},
		{"volume/create-two", "volume create web db --size 500M --creator " + strings.ToUpper(bob), answers{"POST /create/multiple": {ok(list(made, strings.ReplaceAll(made, "web", "db")))}}},
		{"volume/create-url", "volume create web --url http://x/y --checksum sha256:00 --source-format qcow2", answers{"POST /create/url": {ok(made)}}},
		{"volume/create-full", "volume create web --size 10", answers{"POST /create": {refuses(507, "VolumeNotAllocable", "no pool has room: fast: max-volumes is 50")}}},
		{"volume/create-job-fails", "volume create web --size 10", answers{"POST /create": {goesOn()}, "GET /jobs/" + jobID: {ok(failedJob)}}},

		{"volume/list", "volume list", answers{"POST /accessible": {ok(list(record(webID, "web", ""), record(dbID, "db \x1b[31m", ""), long))}}},
		{"volume/list-full-id", "volume list --full-id", answers{"POST /accessible": {byName}}},
		{"volume/list-none", "volume list", answers{"POST /accessible": {ok(`[]`)}}},
		{"volume/list-none-json", "volume list --json", answers{"POST /accessible": {ok(`[]`)}}},
		{"volume/list-json", "volume list --json", answers{"POST /accessible": {ok(list(record(webID, "web", `,"own":{"key":"<1>"}`)))}}},
		{"volume/list-quiet", "volume list -q", answers{"POST /accessible": {ok(list(record(webID, "web", ""), record(dbID, "db", "")))}}},
		{"volume/list-filter", "volume list --pool fast --filter private=true --filter size=512 --filter name=7 --filter own=x --limit 3 --client " + bob, answers{"POST /accessible": {ok(`[]`)}}},
		{"volume/info", "volume info web", with("POST /info", ok(record(webID, "web", "")))},
		{"volume/info-odd", "volume info " + otherID, answers{"POST /info": {ok(long)}}},
		{"volume/info-two", "volume info " + webID + " " + otherID, answers{"POST /info": {ok(record(webID, "web", "")), ok(record(otherID, "other", ""))}}},
		{"volume/info-json", "volume info web --json", with("POST /info", ok(record(webID, "web", `,"own":[1]`)))},
		{"volume/info-none", "volume info none " + webID, answers{"POST /accessible": {ok(`[]`)}, "POST /info": {ok(record(webID, "web", ""))}}},
		{"volume/info-ambiguous", "volume info web", answers{"POST /accessible": {ok(list(record(webID, "web", ""), record(otherID, "web", "")))}}},

		{"volume/set", "volume set web name=7 private=true bus=scsi read_iops=100 note=a=b", with("POST /update", echo)},
		{"volume/set-not-owner", "volume set web name=x", with("POST /update", refuses(400, "VolumeImpossibleCreatorIDMetaUpdate", "creatorID is not the owner"))},
		{"volume/resize", "volume resize web 20Gi", with("POST /update/resize", echo)},
		{"volume/resize-shrink", "volume resize web 5G --shrink --json", with("POST /update/resize", echo)},
		{"volume/resize-by", "volume resize web +5G", answers{"POST /accessible": {byName}, "POST /info": {ok(record(webID, "web", ""))}, "POST /update/resize": {echo}}},
		{"volume/resize-too-small", "volume resize web 5G", with("POST /update/resize", refuses(400, "VolumeDimensionNotShrinkable", "5 GB would cut off data"))},
		{"volume/convert", "volume convert web qcow2", with("POST /update/convert", echo)},
		{"volume/convert-locked", "volume convert web qcow2", with("POST /update/convert", refuses(409, "VolumeAlredyLocked", "volume is being cloned"))},
		{"volume/clone", "volume clone web copy --pool slow --private --alg rsync --idempotency-key k1", with("POST /clone", ok(strings.ReplaceAll(made, `"web"`, `"copy"`)))},
		{"volume/transfer", "volume transfer web 5E96AFA5-2c1a-5334-8adc-5c5663978058", with("POST /update/transfer", echo)},
		{"volume/import", "volume import old --path /srv/old.vmdk --source-format vmdk --overlay --bootable", answers{"POST /import": {ok(strings.ReplaceAll(made, `"web"`, `"old"`))}}},
		{"volume/compact", "volume compact web", with("POST /overlay/compact", echo)},
		{"volume/credentials", "volume credentials web", with("POST /ceph/credentials", ok(cephAnswer))},
		{"volume/credentials-qemu", "volume credentials web --for qemu --to " + bob, with("POST /ceph/credentials", ok(cephAnswer))},
		{"volume/credentials-uri", "volume credentials web --for uri", with("POST /ceph/credentials", ok(cephAnswer))},
		{"volume/credentials-conf", "volume credentials web --for conf", with("POST /ceph/credentials", ok(cephAnswer))},
		{"volume/credentials-keyring", "volume credentials web --for keyring", with("POST /ceph/credentials", ok(cephAnswer))},
		{"volume/credentials-json", "volume credentials web --json", with("POST /ceph/credentials", ok(cephAnswer))},
		{"volume/credentials-wrong", "volume credentials web --for x", answers{}},
		{"volume/credentials-refused", "volume credentials web", with("POST /ceph/credentials", refuses(400, "UnsupportedFormat", "it has format raw"))},
		{"volume/destroy", "volume destroy web", with("POST /destroy", echo)},
		{"volume/destroy-purge", "volume destroy " + webID + " " + dbID + " --purge", answers{"POST /destroy": {echo, refuses(409, "VolumeCannotBeDeleted", "volume is exported")}}},
		{"volume/destroy-purge-bin", "volume destroy web --purge -q", answers{"POST /accessible": {ok(`[]`)}, "POST /trash": {byName}, "POST /destroy": {echo}}},
		{"volume/destroy-none", "volume destroy " + webID + " none", answers{"POST /accessible": {ok(`[]`)}}},
		{"volume/restore", "volume restore web", answers{"POST /trash": {byName}, "POST /trash/restore": {ok(record(webID, "web", ""))}}},
		{"volume/restore-prefix", "volume restore 2BEF4", answers{"POST /trash": {ok(list(record(webID, "web", ""), record(dbID, "db", "")))}, "POST /trash/restore": {ok(record(webID, "web", ""))}}},
		{"volume/restore-none", "volume restore web", answers{"POST /trash": {ok(`[]`)}}},

		{"trash/list", "trash list", answers{"POST /trash": {ok(list(record(webID, "web", `,"trashed":"2026-01-02 03:04:05.6789"`)))}}},
		{"trash/list-quiet", "trash list -q", answers{"POST /trash": {byName}}},
		{"trash/list-json", "trash list --json", answers{"POST /trash": {byName}}},
		{"trash/empty", "trash empty --pool fast", answers{"POST /trash/empty": {ok(`{"purged":1}`)}}},
		{"trash/empty-json", "trash empty --json", answers{"POST /trash/empty": {ok(`{"purged":3}`)}}},

		{"job/list", "job list", answers{"GET /jobs": {ok(list(runningJob, failedJob))}}},
		{"job/list-running", "job list --running --kind clone --volume " + webID + " -q", answers{"GET /jobs?kind=clone&state=queued&state=running&volume=" + webID: {ok(list(runningJob))}}},
		{"job/list-json", "job list --json", answers{"GET /jobs": {ok(`[]`)}}},
		{"job/show", "job show " + jobID, answers{"GET /jobs/" + jobID: {ok(runningJob)}}},
		{"job/show-failed", "job show " + jobID, answers{"GET /jobs/" + jobID: {ok(failedJob)}}},
		{"job/show-none", "job show none", answers{"GET /jobs/none": {refuses(404, "JobNotFound", `no job "none"`)}}},
		{"job/wait", "job wait " + jobID, answers{"GET /jobs/" + jobID: {ok(runningJob), ok(doneJob(made))}}},
		{"job/wait-json", "job wait --json " + jobID, answers{"GET /jobs/" + jobID: {ok(failedJob)}}},
		{"job/wait-several", "job wait a b c", answers{"GET /jobs/a": {ok(cancelledJob)}, "GET /jobs/b": {ok(doneJob(made))}, "GET /jobs/c": {ok(failedJob)}}},
		{"job/cancel", "job cancel " + jobID, answers{"DELETE /jobs/" + jobID: {ok(cancelledJob)}}},

		{"version/both", "version", answers{"GET /version": {ok(`{"version":"v9","api_versions":["1.0","2.0"]}`)}}},
		{"version/both-json", "version --json", answers{"GET /version": {ok(`{"version":"v9"}`)}}},
		{"version/own", "version --own", nil},
		{"version/own-json", "version --own --json", nil},
		{"version/flag", "--version", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newScript(t, tt.answers)
			o := elstore(t, strings.Fields(tt.args)...)
			var b strings.Builder
			fmt.Fprintf(&b, "$ elstore %s\n", tt.args)
			for _, asked := range s.asked {
				fmt.Fprintf(&b, "> %s\n", asked)
			}
			fmt.Fprintf(&b, "%scode %d\n", o.stdout, o.code)
			if o.stderr != "" {
				fmt.Fprintf(&b, "--- stderr\n%s", o.stderr)
			}
			golden(t, tt.name, strings.ReplaceAll(b.String(), s.url, "http://server"))
		})
	}
}
