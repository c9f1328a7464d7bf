#![allow(clippy::unwrap_used)]

use super::*;

#[test]
fn sizes_have_three_digits_at_most() {
    for (bytes, text) in [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (100 << 10, "100 KiB"),
        (999 << 10, "999 KiB"),
        (1000 << 10, "1.0 MiB"),
        (512 << 20, "512 MiB"),
        (4 << 30, "4.0 GiB"),
        ((99 << 30) + (990 << 20), "100 GiB"),
        (3 << 40, "3.0 TiB"),
        (u64::MAX, "16.0 EiB"),
    ] {
        assert_eq!(size(bytes), text, "{bytes}");
    }
}

#[test]
fn durations_are_short() {
    for (ms, text) in [
        (0, "0 s"),
        (400, "0.4 s"),
        (1000, "1 s"),
        (9_940, "9.9 s"),
        (12_400, "12 s"),
        (185_000, "3 min 05 s"),
        (7_620_000, "2 h 07 min"),
    ] {
        assert_eq!(duration(Duration::from_millis(ms)), text, "{ms}");
    }
}

#[test]
fn rates_and_ratios_don_t_divide_by_nothing() {
    assert_eq!(rate(1 << 30, Duration::ZERO), None);
    assert_eq!(rate(240 << 20, Duration::from_secs(2)).unwrap(), "120 MiB/s");
    assert_eq!(ratio(44, 0), None);
    assert_eq!(ratio(44, 10).unwrap(), "4.4");
}

#[test]
fn a_clock_that_goes_backwards_gives_no_time() {
    let (early, late) = (Timestamp::from_second(10).unwrap(), Timestamp::from_second(12).unwrap());
    assert_eq!(elapsed(early, late), Duration::from_secs(2));
    assert_eq!(elapsed(late, early), Duration::ZERO);
}
