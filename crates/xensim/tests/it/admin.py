"""Judges the calls with the official SDK, as an administrator would make them.

usage: admin.py MASTER_URL MEMBER_URL MASTER_ADDRESS USER PASSWORD

The pool has a halted machine "web" with two disks. Everything made here is removed again.
"""

import sys
import threading
import time
import xmlrpc.client

import XenAPI

NULL = "OpaqueRef:NULL"


def step(text):
    print("step:", text, flush=True)


def refused(code, params, call, *args):
    """The call must fail with exactly this; None among the parameters fits anything."""
    try:
        call(*args)
    except XenAPI.Failure as failure:
        found = failure.details
        assert found[0] == code, found
        if params is not None:
            assert len(found) == len(params) + 1, found
            for got, wanted in zip(found[1:], params):
                assert wanted is None or got == wanted, found
        return found
    raise AssertionError("expected " + code)


def result_of(session, task):
    """Waits for a task, and reads its result as the SDK's users do: as XML-RPC text."""
    token = ""
    while True:
        status = session.xenapi.task.get_status(task)
        if status != "pending":
            break
        batch = session.xenapi.event_from(["task/" + task], token, 10.0)
        token = batch["token"]
    record = session.xenapi.task.get_record(task)
    session.xenapi.task.destroy(task)
    assert record["progress"] == 1.0, record
    assert isinstance(record["finished"], xmlrpc.client.DateTime)
    if status != "success":
        raise XenAPI.Failure(record["error_info"])
    text = record["result"]
    if text == "" or text == "<value></value>":
        return ""
    (value,), _ = xmlrpc.client.loads("<params><param>" + text + "</param></params>")
    return value


def sessions(url, member_url, address, user, password):
    step("sessions")
    member = XenAPI.Session(member_url, ignore_ssl=True)
    refused("HOST_IS_SLAVE", [address], member.xenapi.login_with_password, user, password, "1.0", "admin.py")
    wrong = XenAPI.Session(url, ignore_ssl=True)
    refused("SESSION_AUTHENTICATION_FAILED", None, wrong.xenapi.login_with_password, user, "no", "1.0", "admin.py")
    session = XenAPI.Session(url, ignore_ssl=True)
    session.xenapi.login_with_password(user, password, "1.0", "admin.py")
    assert session.xenapi.session.get_originator(session.handle) == "admin.py"
    major, minor = session.API_version.split(".")
    assert (int(major), int(minor)) >= (2, 0)
    return session


def inventory(api):
    step("inventory")
    (pool, record), = api.pool.get_all_records().items()
    master = record["master"]
    assert api.host.get_record(master)["enabled"] is True
    assert len(api.host.get_all()) == 2
    assert api.SR.get_name_label(record["default_SR"]) == "Shared storage"
    clock = time.mktime(time.strptime(api.host.get_servertime(master).value, "%Y%m%dT%H:%M:%SZ"))
    assert abs(clock - time.mktime(time.gmtime())) < 60
    assert api.host.get_server_certificate(master).startswith("-----BEGIN CERTIFICATE-----")
    certificate, = [c for c in api.Certificate.get_all_records().values() if c["host"] == master]
    assert certificate["type"] == "host" and certificate["fingerprint"].count(":") == 31
    for name in [m for m in session_methods(api) if m.endswith(".get_all_records")]:
        try:
            records = getattr(api, name)()
        except XenAPI.Failure as failure:
            assert failure.details == ["MESSAGE_REMOVED"], (name, failure.details)
            continue
        shapes = {tuple(sorted(r)) for r in records.values()}
        assert len(shapes) <= 1, name + ": all records of a class have the same fields"
    return pool, master


def session_methods(api):
    # The only answer without an envelope, which the SDK can't take; so ask for it through the host.
    pool, = api.pool.get_all()
    return api.host.list_methods()


def errors(session):
    step("errors")
    api = session.xenapi
    vm, = api.VM.get_by_name_label("web")
    refused("HANDLE_INVALID", ["VM", "OpaqueRef:nope"], api.VM.get_record, "OpaqueRef:nope")
    refused("UUID_INVALID", ["VM", "nope"], api.VM.get_by_uuid, "nope")
    refused("MESSAGE_METHOD_UNKNOWN", ["VM.fly"], api.VM.fly, vm)
    refused("MESSAGE_PARAMETER_COUNT_MISMATCH", ["VM.snapshot", "2", "1"], api.VM.snapshot, vm)
    refused("MESSAGE_REMOVED", [], api.VM.snapshot_with_quiesce, vm, "x")
    refused("VM_BAD_POWER_STATE", [vm, "running", "halted"], api.VM.clean_shutdown, vm)
    refused("FIELD_TYPE_ERROR", ["start_paused"], api.VM.start, vm, "yes", False)
    api.VM.add_to_other_config(vm, "admin", "1")
    uuid = api.VM.get_uuid(vm)
    refused("MAP_DUPLICATE_KEY", ["VM", "other_config", uuid, "admin"], api.VM.add_to_other_config, vm, "admin", "2")
    api.VM.remove_from_other_config(vm, "admin")
    refused("INVALID_VALUE", ["expr", "what?"], api.VM.get_all_records_where, "what?")
    found = api.VM.get_all_records_where('field "name__label" = "web" and field "is_a_template" = "false"')
    assert list(found) == [vm]
    return vm


def make_disk(api, sr, size, name):
    vdi = api.VDI.create({
        "name_label": name, "name_description": "", "SR": sr, "virtual_size": str(size), "type": "user",
        "sharable": False, "read_only": False, "other_config": {"made-by": "admin.py"}, "tags": ["t"],
    })
    record = api.VDI.get_record(vdi)
    assert int(record["virtual_size"]) >= size
    assert record["managed"] and not record["missing"] and not record["is_a_snapshot"]
    return vdi


def machine(session, pool):
    step("a machine from a template")
    api = session.xenapi
    template, = api.VM.get_by_name_label("Debian Bookworm 12")
    refused("VM_CANNOT_DELETE_DEFAULT_TEMPLATE", [template], api.VM.destroy, template)
    refused("VM_IS_TEMPLATE", [template, "start"], api.VM.start, template, False, False)
    vm = api.VM.clone(template, "made by admin.py")
    api.VM.set_is_a_template(vm, False)
    api.VM.set_name_description(vm, "a <b> & \"c\" ä")
    assert api.VM.get_name_description(vm) == "a <b> & \"c\" ä"
    gib = 1 << 30
    api.VM.set_memory_limits(vm, str(gib), str(2 * gib), str(gib), str(gib))
    assert api.VM.get_memory_static_max(vm) == str(2 * gib), "integers come as text"
    api.VM.set_VCPUs_max(vm, "4")
    api.VM.set_VCPUs_at_startup(vm, "2")

    sr = api.pool.get_default_SR(pool)
    before = int(api.SR.get_virtual_allocation(sr))
    disks = [make_disk(api, sr, 32 << 20, "admin disk %d" % n) for n in range(2)]
    assert int(api.SR.get_virtual_allocation(sr)) == before + (64 << 20)
    for vdi in disks:
        position = api.VM.get_allowed_VBD_devices(vm)[0]
        vbd = api.VBD.create({
            "VM": vm, "VDI": vdi, "userdevice": position, "bootable": position == "0", "mode": "RW", "type": "Disk",
            "unpluggable": True, "empty": False, "other_config": {"owner": ""}, "qos_algorithm_type": "",
            "qos_algorithm_params": {},
        })
        assert api.VDI.get_VBDs(vdi) == [vbd]
    assert len(api.VM.get_VBDs(vm)) == 2

    network, = api.network.get_by_name_label("Internal network")
    vif = api.VIF.create({
        "device": api.VM.get_allowed_VIF_devices(vm)[0], "network": network, "VM": vm, "MAC": "", "MTU": "1500",
        "other_config": {}, "qos_algorithm_type": "", "qos_algorithm_params": {},
    })
    record = api.VIF.get_record(vif)
    assert record["MAC_autogenerated"] and int(record["MAC"][:2], 16) & 3 == 2, record
    assert vif in api.network.get_VIFs(network)
    return vm, disks


def power(session, vm, disks):
    step("power")
    api = session.xenapi
    task = session.xenapi.Async.VM.start(vm, False, False)
    assert result_of(session, task) == ""
    assert api.VM.get_power_state(vm) == "Running"
    assert "clean_shutdown" in api.VM.get_allowed_operations(vm) or api.VM.get_guest_metrics(vm) == NULL
    refused("VDI_IN_USE", [disks[0], "destroy"], api.VDI.destroy, disks[0])
    token = ""
    while api.VM.get_guest_metrics(vm) == NULL:
        token = api.event_from(["vm"], token, 10.0)["token"]
    metrics = api.VM_guest_metrics.get_record(api.VM.get_guest_metrics(vm))
    assert metrics["networks"]["0/ip"] and metrics["PV_drivers_detected"]
    assert api.VM.get_resident_on(vm) in api.host.get_all()
    api.VM.pause(vm)
    refused("VM_BAD_POWER_STATE", [vm, "running", "paused"], api.VM.pause, vm)
    api.VM.unpause(vm)


def snapshots(session, vm, disks):
    step("snapshots")
    api = session.xenapi
    task = api.Async.VM.snapshot(vm, "before the change", [])
    snapshot = result_of(session, task)
    record = api.VM.get_record(snapshot)
    assert record["is_a_snapshot"] and record["is_a_template"] and record["snapshot_of"] == vm
    assert record["power_state"] == "Halted"
    assert record["snapshot_info"]["power-state-at-snapshot"] == "Running"
    assert abs(time.mktime(time.strptime(record["snapshot_time"].value, "%Y%m%dT%H:%M:%SZ"))
               - time.mktime(time.gmtime())) < 60
    assert [api.VIF.get_MAC(v) for v in record["VIFs"]] == [api.VIF.get_MAC(v) for v in api.VM.get_VIFs(vm)]
    frozen = [api.VBD.get_VDI(v) for v in record["VBDs"]]
    assert sorted(api.VDI.get_snapshot_of(v) for v in frozen) == sorted(disks)
    refused("VM_IS_SNAPSHOT", [snapshot, "start"], api.VM.start, snapshot, False, False)
    short = api.VM.snapshot(vm, "one disk only", [disks[1]])
    assert len(api.VM.get_VBDs(short)) == 1
    for other in (short, snapshot):
        held = [api.VBD.get_VDI(v) for v in api.VM.get_VBDs(other)]
        api.VM.destroy(other)
        for vdi in held:
            assert api.VDI.get_uuid(vdi), "disks stay when their machine goes"
            api.VDI.destroy(vdi)
    refused("VM_BAD_POWER_STATE", [vm, "halted", "running"], api.VM.clone, vm, "x")


def events(session, pool):
    step("events")
    api = session.xenapi
    batch = api.event_from(["pool"], "", 5.0)
    assert [(e["class"], e["operation"], e["ref"]) for e in batch["events"]] == [("pool", "add", pool)]
    counts = batch["valid_ref_counts"]
    assert isinstance(counts["vm"], int) and counts["pool"] == 1
    token = batch["token"]
    batch = api.event_from(["pool"], token, 0.1)
    assert batch["events"] == []

    other = XenAPI.Session(sys.argv[1], ignore_ssl=True)
    other.xenapi.login_with_password(sys.argv[4], sys.argv[5], "1.0", "admin.py")

    def change():
        time.sleep(0.2)
        other.xenapi.pool.set_name_description(pool, "one")
        other.xenapi.pool.set_name_description(pool, "two")

    worker = threading.Thread(target=change)
    worker.start()
    seen = []
    while not any(s == "two" for s in seen):
        batch = api.event_from(["pool"], token, 30.0)
        token = batch["token"]
        seen += [e["snapshot"]["name_description"] for e in batch["events"]]
    worker.join()
    api.pool.set_name_description(pool, "")
    token = api.event.inject("pool", pool)
    batch = api.event_from(["*"], token, 5.0)
    assert [e["ref"] for e in batch["events"]] == [pool]
    refused("EVENT_FROM_TOKEN_PARSE_FAILURE", ["x"], api.event_from, ["*"], "x", 1.0)

    api.event.register(["pool"])
    other.xenapi.pool.set_name_description(pool, "three")
    assert [e["operation"] for e in api.event.next()] == ["mod"]
    api.event.unregister(["pool"])
    refused("SESSION_NOT_REGISTERED", None, api.event.next)
    other.xenapi.session.logout()


def tasks(session):
    step("tasks")
    api = session.xenapi
    task = api.task.create("admin", "of admin.py")
    assert api.task.get_status(task) == "pending"
    assert api.task.get_finished(task).value == "19700101T00:00:00Z"
    api.task.cancel(task)
    assert api.task.get_status(task) == "cancelled"
    assert api.task.get_error_info(task) == ["TASK_CANCELLED", task]
    api.task.destroy(task)
    refused("HANDLE_INVALID", ["task", task], api.task.get_status, task)
    vm, = api.VM.get_by_name_label("web")
    try:
        result_of(session, api.Async.VM.clean_shutdown(vm))
        raise AssertionError("the machine is halted")
    except XenAPI.Failure as failure:
        assert failure.details == ["VM_BAD_POWER_STATE", vm, "running", "halted"], failure.details


def clean(session, vm, disks):
    step("clean up")
    api = session.xenapi
    result_of(session, api.Async.VM.clean_shutdown(vm))
    assert api.VM.get_power_state(vm) == "Halted"
    copy = result_of(session, api.Async.VM.copy(vm, "copy", NULL))
    clone = api.VM.clone(vm, "clone")
    macs = {tuple(api.VIF.get_MAC(v) for v in api.VM.get_VIFs(m)) for m in (vm, copy, clone)}
    assert len(macs) == 3, "each has addresses of its own"
    for machine in (copy, clone, vm):
        held = [api.VBD.get_VDI(v) for v in api.VM.get_VBDs(machine)]
        api.VM.destroy(machine)
        for vdi in held:
            api.VDI.destroy(vdi)


def census(api):
    return {c: len(getattr(api, c + ".get_all")()) for c in ("VM", "VDI", "VBD", "VIF", "VM_metrics", "task", "console")}


def main():
    url, member_url, address, user, password = sys.argv[1:]
    session = sessions(url, member_url, address, user, password)
    api = session.xenapi
    before = census(api)
    pool, master = inventory(api)
    errors(session)
    vm, disks = machine(session, pool)
    power(session, vm, disks)
    snapshots(session, vm, disks)
    events(session, pool)
    tasks(session)
    clean(session, vm, disks)
    assert census(api) == before, (census(api), before)
    api.session.logout()
    print("all done")


main()
