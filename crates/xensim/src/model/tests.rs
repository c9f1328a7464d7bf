#![allow(clippy::unwrap_used)]
use super::*;

#[test]
fn every_class_has_a_table_and_every_link_two_sides() {
    let schema = Schema::get();
    for class in Class::ALL {
        assert_eq!(schema.class(*class).class, *class);
        assert_eq!(Class::parse(class.name()), Some(*class));
    }
    for link in links() {
        let one = schema.class(link.one.0).field(link.one.1).unwrap();
        let many = schema.class(link.many.0).field(link.many.1).unwrap();
        assert_eq!(one.ty, Type::Ref(link.many.0), "{link:?}");
        assert_eq!(many.ty, Type::Set(Box::new(Type::Ref(link.one.0))), "{link:?}");
    }
}

#[test]
fn a_fresh_object_holds_legal_values() {
    let mut t = Tables::default();
    for class in Class::ALL {
        let object = t.create(*class, []);
        let record = t.record(&object).unwrap();
        let def = Schema::get().class(*class);
        assert_eq!(record.len(), def.fields.len());
        for field in def.fields.iter().filter(|field| !matches!(field.ty, Type::Option(_) | Type::Record(_))) {
            let value = &record[&field.name];
            assert_eq!(field.ty.coerce(value).as_ref(), Some(value), "{}.{}", class.name(), field.name);
        }
    }
}

#[test]
fn defaults_are_read() {
    let schema = Schema::get();
    for (class, field, value) in [
        (Class::Vm, "HVM_shadow_multiplier", Value::Float(1.0)),
        (Class::Vm, "generation_id", Value::from("0:0")),
        (Class::Vm, "has_vendor_device", Value::Bool(true)),
        (Class::Vm, "snapshot_time", Value::Date(0)),
        (Class::Host, "license_server", Value::map([("address", "localhost"), ("port", "27000")])),
        (Class::Host, "virtual_hardware_platform_versions", Value::Set(vec![Value::Int(0)])),
        (Class::Network, "MTU", Value::Int(1500)),
        (Class::Vif, "locking_mode", Value::from("network_default")),
        (Class::Task, "backtrace", Value::from("()")),
    ] {
        let field = schema.class(class).field(field).unwrap();
        assert_eq!(field.initial(), value, "{}", field.name);
    }
}

#[test]
fn references_point_both_ways() {
    let mut t = Tables::default();
    let vm = t.create(Class::Vm, []);
    let vdi = t.create(Class::Vdi, []);
    let before = t.generation();
    let vbd = t.create(Class::Vbd, [("VM", Value::from(&vm)), ("VDI", Value::from(&vdi))]);
    assert_eq!(t.references(&vm, "VBDs"), std::slice::from_ref(&vbd));
    assert_eq!(t.references(&vdi, "VBDs"), std::slice::from_ref(&vbd));
    let changed: Vec<&Ref> = t.changed_since(before).map(|(reference, _)| reference).collect();
    assert_eq!(changed, [&vbd, &vm, &vdi]);

    let other = t.create(Class::Vm, []);
    t.set(&vbd, "VM", &other);
    assert!(t.references(&vm, "VBDs").is_empty());
    assert_eq!(t.references(&other, "VBDs"), std::slice::from_ref(&vbd));

    t.destroy(&other);
    assert_eq!(t.reference(&vbd, "VM"), other, "references to what is gone dangle");
    t.destroy(&vbd);
    assert!(t.references(&vdi, "VBDs").is_empty());
}

#[test]
fn writing_the_same_again_is_no_change() {
    let mut t = Tables::default();
    let vm = t.create(Class::Vm, [("name_label", Value::from("a"))]);
    let before = t.generation();
    t.set(&vm, "name_label", "a");
    assert_eq!(t.generation(), before);
    t.set(&vm, "name_label", "b");
    assert!(t.generation() > before);
}

#[test]
fn objects_are_found_by_uuid_and_name() {
    let mut t = Tables::default();
    let vm = t.create(Class::Vm, [("uuid", Value::from("AB")), ("name_label", Value::from("n"))]);
    assert_eq!(t.by_uuid(Class::Vm, "ab"), Some(vm.clone()));
    assert_eq!(t.by_uuid(Class::Vdi, "ab"), None);
    assert_eq!(t.by_name(Class::Vm, "n"), std::slice::from_ref(&vm));
    let gone = t.destroy(&vm).unwrap();
    assert_eq!(gone["name_label"], Value::from("n"));
    assert_eq!(t.by_uuid(Class::Vm, "ab"), None);
    assert_eq!(t.deleted_since(0).count(), 1);
}

#[test]
fn values_from_the_wire_become_what_the_field_holds() {
    let strings = Type::Map(Box::new(Type::Str), Box::new(Type::Str));
    for (ty, value, becomes) in [
        (Type::Int, Value::from("12"), Some(Value::Int(12))),
        (Type::Int, Value::Float(12.0), Some(Value::Int(12))),
        (Type::Int, Value::Float(12.5), None),
        (Type::Int, Value::from("x"), None),
        (Type::Float, Value::Int(1), None),
        (Type::Float, Value::from("1.5"), Some(Value::Float(1.5))),
        (Type::Bool, Value::from("true"), None),
        (Type::Date, Value::from("19700101T00:01:00Z"), Some(Value::Date(60))),
        (Type::Ref(Class::Vm), Value::from(""), Some(Value::from(NULL_REF))),
        (Type::Set(Box::new(Type::Int)), Value::Set(vec![Value::from("1")]), Some(Value::Set(vec![Value::Int(1)]))),
        (strings.clone(), Value::map([("a", "b")]), Some(Value::map([("a", "b")]))),
        (strings, Value::map([("a", Value::Int(1))]), None),
    ] {
        assert_eq!(ty.coerce(&value), becomes, "{ty:?} {value:?}");
    }
    let field = Schema::get().class(Class::Vm).field("power_state").unwrap();
    assert!(field.ty.coerce(&Value::from("Running")).is_some());
    assert!(field.ty.coerce(&Value::from("running")).is_none(), "the case counts");
}
