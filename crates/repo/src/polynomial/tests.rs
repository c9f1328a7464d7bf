use super::*;

#[test]
fn polynomials_of_restic_pass() {
    // Made by `restic init`; the second is the one in the documentation of restic's chunker.
    for known in [0x0020_271f_a49a_6f81, 0x003d_a335_8b4d_c173] {
        assert!(Polynomial(known).is_irreducible(), "{known:x}");
    }
}

#[test]
fn products_fail() {
    // Divisible by x, by x+1, and the square of an irreducible polynomial times (x^3+x+1).
    let multiply = |a: u64, b: u64| (0..64).filter(|bit| b >> bit & 1 == 1).fold(0, |sum, bit| sum ^ a << bit);
    let quadratic = 0b111;
    let cubic = 0b1011;
    let of_degree_51 = 1 << 51 | 0b101_0111;
    for product in [multiply(of_degree_51, quadratic), multiply(1 << 50 | 0b111, cubic), 1 << 53, 1 << 53 | 1] {
        assert!(!Polynomial(product).is_irreducible(), "{product:x}");
    }
}

#[test]
fn random_ones_differ() {
    assert_ne!(Polynomial::random(), Polynomial::random());
}
