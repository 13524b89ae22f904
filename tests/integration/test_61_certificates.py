# SPDX-License-Identifier: Apache-2.0
"""What an origin may show, and what tlsfan says of it: a certificate of each kind that is met or feared.

KINDS is the list: what is shown, whether it is taken, and words of the sentence where it is not. Each is judged by
curl, too, and the verdicts are equal but where the list says why not."""
import ipaddress
import ssl
import subprocess
from collections import namedtuple

import pytest

from testenv.certs import (CA_USE, DAY, NOW, alt_names, authority, basic, bits, certificate, crl, dns, explicit,
                           ext_key_usage, extension, integer, ip, key, key_usage, name, name_constraints, oid, pem,
                           pss_alone, seq, server_context, tlv, to_pem, write)
from testenv.proxy import Proxy, binary, clean_env
from testenv.scripted import Server, answering, ok

OK, BAD = "taken", "refused"
PAST, FUTURE = NOW - 30 * DAY, NOW + 30 * DAY
Kind = namedtuple("Kind", "name shown verdict words curl host trust lists error")


def kind(name, shown, verdict, *words, curl=None, host=None, trust=None, lists=None, error="tls_certificate_error"):
    """SHOWN(host) is the chain of the server, the leaf first.

    CURL: why its verdict is another. TRUST() is what ca_file holds, the root otherwise, LISTS() what crl_file does."""
    return Kind(name, shown, verdict, words, curl, host or name.replace("_", "-") + ".test", trust, lists, error)


ROOT = authority("tlsfan root", None)
INTER = authority("tlsfan intermediate", ROOT)
STRANGER = authority("stranger root", None)
RSA = key("rsa2048")


def leaf(host, *extensions, by=INTER, names=None, cn=None, san=True, **kw):
    """A leaf for HOST, or for NAMES; a CN is no name."""
    names = alt_names(*(names or [dns(host)])) if san else None
    return certificate("server" if cn is None else cn, by, ([names] if names else []) + list(extensions), **kw)


def by_inter(*extensions, **kw):
    """Shown: a leaf for the host, and the intermediate."""
    return lambda host: [leaf(host, *extensions, **kw), INTER]


def by_ca(*extensions, above=None, **kw):
    """Shown: a good leaf by a CA with EXTENSIONS in the place of the usual ones."""
    ca = authority("odd CA", above or ROOT, *extensions, **kw)
    return lambda host: [leaf(host, by=ca), ca] + ([above] if above else [])


def named(*names, **kw):
    return lambda host: [leaf(host, names=names, **kw), INTER]


def chain_of(n, *first):
    """Shown: a leaf below N intermediates, the topmost with the extensions FIRST."""
    made = [authority("level 1", ROOT, *first)]
    for i in range(1, n):
        made.append(authority("level %d" % (i + 1), made[-1]))
    return lambda host: [leaf(host, by=made[-1])] + made[::-1]


def packed(text):
    return ip(ipaddress.ip_address(text).packed)


def net(text):
    n = ipaddress.ip_network(text)
    return ip(n.network_address.packed + n.netmask.packed)


# A CA that was signed by an old root, expired now, before its own root was in the stores (AddTrust, May 2020).
OLD_ROOT = authority("old root", None, begin=NOW - 900 * DAY, end=PAST)
NEW_ROOT = authority("new root", None, begin=NOW - 800 * DAY)
CROSS = authority("new root", OLD_ROOT, begin=NOW - 800 * DAY, key=NEW_ROOT.key)
LATE_CROSS = authority("new root", OLD_ROOT, begin=NOW - 800 * DAY, end=PAST, key=NEW_ROOT.key)
BELOW_NEW = authority("below new", NEW_ROOT)


def crossed(*above):
    return lambda host: [leaf(host, by=BELOW_NEW), BELOW_NEW, *above]


TWIN = authority("tlsfan intermediate", STRANGER)  # the name of another CA, and a key of its own
TWIN_ROOT = authority("tlsfan root", None)
V1 = authority("v1 CA", ROOT, version=1)
PLAIN = leaf("plain.test", cn="plain", key=key("p256", "plain"))  # its owner issues others with it
EXPIRED_INTER = authority("expired CA", ROOT, begin=NOW - 900 * DAY, end=PAST)
RSA_CA = authority("RSA CA", ROOT, key=RSA)
SMALL_CA = authority("small CA", ROOT, key=key("rsa1024"))
SHA1_CA = authority("SHA-1 CA", RSA_CA, digest="rsa-sha1")
SHA1_ROOT = authority("SHA-1 root", None, key=RSA, digest="rsa-sha1")
OLD_TRUSTED = authority("expired root", None, begin=NOW - 900 * DAY, end=PAST)
REVOKED = leaf("revoked.test")
REVOKED_CA = authority("revoked CA", ROOT)
NO_LIST_CA = authority("CA without list", ROOT)


def good_lists():
    return crl(INTER, [REVOKED]) + crl(ROOT, [REVOKED_CA]) + crl(REVOKED_CA)


def old_lists():
    return crl(INTER, [], PAST - DAY, PAST) + crl(ROOT)


def early_lists():
    return crl(INTER, [], FUTURE, FUTURE + DAY) + crl(ROOT)


def other_lists():
    return crl(INTER._replace(key=STRANGER.key)) + crl(ROOT)


def half_lists():
    """For certificates of CAs alone (RFC 5280 section 5.2.5)."""
    return crl(INTER, extensions=[extension("2.5.29.28", seq(tlv(0x82, b"\xff")), True)]) + crl(ROOT)


def odd_lists():
    return crl(INTER, extensions=[extension("1.2.3.4", b"\5\0", True)]) + crl(ROOT)



MUTE_CA = authority("mute CA", ROOT, basic(True), key_usage("keyCertSign"))


def mute_lists():
    return crl(MUTE_CA) + crl(ROOT)


MANY = [dns("host%04d.test" % i) for i in range(3000)]
WEAK_HASH, NO_HOST = "it is signed with a hash that is too weak", "not for this host"
UNKNOWN = "its issuer is unknown"

KINDS = [
    # ---- dates ----
    kind("good", by_inter(), OK),
    kind("expired", by_inter(end=PAST), BAD, "it has expired (notAfter %s)" % PAST.strftime("%Y-%m-%d")),
    kind("not_yet_valid", by_inter(begin=FUTURE), BAD,
         "it is not yet valid (notBefore %s)" % FUTURE.strftime("%Y-%m-%d")),
    kind("expired_intermediate", lambda h: [leaf(h, by=EXPIRED_INTER), EXPIRED_INTER], BAD,
         "the certificate of an issuer of expired-intermediate.test", "it has expired", "subject CN=expired CA"),
    kind("expired_root", lambda h: [leaf(h, by=OLD_TRUSTED)], BAD, "it has expired", "subject CN=expired root",
         trust=lambda: [OLD_TRUSTED]),
    kind("beyond_2049", by_inter(end=NOW.replace(year=9999, month=12, day=31)), OK),
    kind("generalized_before_2050", by_inter(generalized=True), OK),
    # ---- who has issued it ----
    kind("self_signed", lambda h: [leaf(h, by=None)], BAD, "it is self-signed"),
    kind("self_signed_trusted", lambda h: [SELF], OK, trust=lambda: [SELF]),
    kind("untrusted_root", lambda h: [leaf(h, by=STRANGER)], BAD, UNKNOWN, "issuer CN=stranger root"),
    kind("untrusted_root_shown", lambda h: [leaf(h, by=STRANGER), STRANGER], BAD,
         "the root of the chain, a self-signed certificate, is not a trusted CA"),
    kind("incomplete_chain", lambda h: [leaf(h)], BAD, "the server does not send the intermediate"),
    kind("incomplete_above", lambda h: [leaf(h, by=BELOW_NEW), BELOW_NEW], BAD, UNKNOWN, "subject CN=below new"),
    kind("other_key", lambda h: [leaf(h, by=TWIN), INTER], BAD,
         "there is a CA of that name, shown by the server or trusted, but with another key"),
    kind("other_key_trusted", lambda h: [leaf(h, by=TWIN_ROOT)], BAD,
         "there is a CA of that name, shown by the server or trusted, but with another key"),
    kind("bad_signature", by_inter(broken=True), BAD, "its signature is not its issuer's"),
    kind("leaf_as_ca", lambda h: [leaf(h, by=LEAF_CA), LEAF_CA, INTER], BAD, "it is not a CA", "an issuer of"),
    kind("plain_as_ca", lambda h: [leaf(h, by=PLAIN), PLAIN, INTER], BAD, "it is not a CA", "an issuer of"),
    kind("ca_as_leaf", by_inter(basic(True), key_usage("digitalSignature", "keyCertSign")), OK),
    kind("ca_without_cert_sign", by_ca(basic(True), key_usage("digitalSignature", "cRLSign")), BAD, "it is not a CA"),
    kind("v1_intermediate", lambda h: [leaf(h, by=V1), V1], BAD, "it is not a CA"),
    kind("v1_leaf", lambda h: [certificate(h, INTER, version=1), INTER], BAD, "it holds no host name",
         curl="it takes the CN where there is no subjectAltName"),
    kind("pathlen_kept", chain_of(2, basic(True, 1), CA_USE[1]), OK),
    kind("pathlen_exceeded", chain_of(3, basic(True, 1), CA_USE[1]), BAD,
         "it allows fewer CAs below it than the chain has", "subject CN=level 1"),
    kind("long_chain", chain_of(20), OK),
    kind("endless_chain", chain_of(110), BAD, "its chain is longer than 100 certificates"),
    kind("other_algorithm_inside", by_inter(inner="rsa-sha256"), BAD,
         "it is signed by an algorithm that its issuer's key is not for"),
    kind("unknown_algorithm", by_inter(inner="unknown", outer="unknown"), BAD,
         "it is signed by an algorithm that is not known here"),
    kind("other_algorithm_outside", by_inter(outer="rsa-sha256"), BAD, "its signature is not its issuer's"),
    kind("unreadable_dates", by_inter(dates=tlv(0x17, b"yesterday") + tlv(0x17, b"tomorrow")), BAD,
         "it has a date that cannot be read"),
    kind("month_13", by_inter(dates=tlv(0x17, b"201301000000Z") + tlv(0x17, b"491301000000Z")), BAD,
         "it has a date that cannot be read"),
    kind("never_valid", by_inter(begin=FUTURE, end=PAST), BAD, "it is not yet valid"),
    kind("no_basic_constraints", by_ca(key_usage("keyCertSign", "cRLSign")), BAD, "it is not a CA",
         "subject CN=odd CA"),
    kind("netscape_ca", by_ca(extension("2.16.840.1.113730.1.1", tlv(3, b"\2\4"))), BAD, "it is not a CA"),
    kind("no_key_usage", by_ca(basic(True)), OK),
    kind("pathlen_negative", by_ca(basic(True, -1), CA_USE[1]), BAD, "malformed"),
    kind("pathlen_of_root", lambda h: [leaf(h, by=BELOW_SHORT), BELOW_SHORT], BAD,
         "it allows fewer CAs below it", "subject CN=short root", trust=lambda: [SHORT_ROOT]),
    kind("self_issued", lambda h: [leaf(h, by=ROLLED), ROLLED, ROLLING], OK),
    kind("circle", lambda h: [leaf(h, by=CIRCLE_A), CIRCLE_A, CIRCLE_B], BAD, UNKNOWN),
    kind("intermediate_trusted", lambda h: [leaf(h)], OK, trust=lambda: [INTER]),
    kind("leaf_trusted", lambda h: [LEAF_TRUSTED, INTER], OK, trust=lambda: [LEAF_TRUSTED]),
    kind("v1_root", lambda h: [leaf(h, by=V1_ROOT)], OK, trust=lambda: [V1_ROOT]),
    kind("root_for_clients", lambda h: [leaf(h, by=CLIENT_ROOT)], BAD, "not meant to issue for TLS servers",
         trust=lambda: [CLIENT_ROOT]),
    # ---- what else is shown ----
    kind("root_shown", lambda h: [leaf(h), INTER, ROOT], OK),
    kind("unrelated", lambda h: [leaf(h), STRANGER, leaf("other.test"), INTER, NEW_ROOT], OK),
    kind("wrong_order", lambda h: [leaf(h, by=BELOW_INTER), ROOT, INTER, BELOW_INTER], OK),
    kind("duplicates", lambda h: [leaf(h), INTER, INTER, INTER, ROOT, ROOT], OK),
    kind("expired_twin", lambda h: [leaf(h, by=RENEWED), EXPIRED_TWIN, RENEWED], OK),
    # ---- cross-signed ----
    kind("cross_new_trusted", crossed(CROSS), OK, trust=lambda: [NEW_ROOT]),
    kind("cross_both_trusted", crossed(CROSS), OK, trust=lambda: [OLD_ROOT, NEW_ROOT]),
    kind("cross_both_trusted_new_first", crossed(CROSS), OK, trust=lambda: [NEW_ROOT, OLD_ROOT]),
    kind("cross_old_shown", crossed(CROSS, OLD_ROOT), OK, trust=lambda: [OLD_ROOT, NEW_ROOT]),
    kind("cross_old_shown_first", crossed(OLD_ROOT, CROSS), OK, trust=lambda: [NEW_ROOT]),
    kind("addtrust", crossed(LATE_CROSS, OLD_ROOT), OK, trust=lambda: [OLD_ROOT, NEW_ROOT]),
    kind("addtrust_new_first", crossed(LATE_CROSS, OLD_ROOT), OK, trust=lambda: [NEW_ROOT, OLD_ROOT]),
    kind("cross_old_trusted", crossed(CROSS), BAD, "it has expired", "subject CN=old root",
         trust=lambda: [OLD_ROOT]),
    kind("cross_itself_trusted", crossed(), OK, trust=lambda: [CROSS]),
    # ---- revocation ----
    kind("lists", by_inter(), OK, lists=good_lists),
    kind("revoked", lambda h: [REVOKED, INTER], BAD, "it has been revoked", lists=good_lists),
    kind("revoked_unasked", lambda h: [leaf(h, serial=REVOKED.serial), INTER], OK),
    kind("revoked_ca", lambda h: [leaf(h, by=REVOKED_CA), REVOKED_CA], BAD, "it has been revoked",
         "subject CN=revoked CA", lists=good_lists),
    kind("no_list", lambda h: [leaf(h, by=NO_LIST_CA), NO_LIST_CA], BAD, "crl_file holds no list of its issuer",
         lists=good_lists),
    kind("list_expired", by_inter(), BAD, "the revocation list of its issuer in crl_file has expired",
         lists=old_lists),
    kind("list_not_yet_valid", by_inter(), BAD, "the revocation list of its issuer in crl_file is not yet valid",
         lists=early_lists),
    kind("list_by_another", by_inter(), BAD, "the revocation list of its issuer has a bad signature",
         lists=other_lists),
    kind("list_of_others", by_inter(), BAD, "in crl_file cannot be used: it is for other certificates",
         lists=half_lists),
    kind("list_unknown_critical", by_inter(), BAD, "cannot be used: it has a critical extension that is not known here",
         lists=odd_lists),
    kind("list_without_right", lambda h: [leaf(h, by=MUTE_CA), MUTE_CA], BAD,
         "the revocation list of its issuer in crl_file cannot be used: the issuer may not sign one", lists=mute_lists),
    # ---- strength ----
    kind("sha1_leaf", lambda h: [leaf(h, by=RSA_CA, digest="rsa-sha1"), RSA_CA], BAD, WEAK_HASH),
    kind("sha1_ecdsa_leaf", by_inter(digest="ecdsa-sha1"), BAD, WEAK_HASH),
    kind("md5_leaf", lambda h: [leaf(h, by=RSA_CA, digest="rsa-md5"), RSA_CA], BAD, WEAK_HASH),
    kind("sha1_intermediate", lambda h: [leaf(h, by=SHA1_CA), SHA1_CA, RSA_CA], BAD, WEAK_HASH,
         "subject CN=SHA-1 CA"),
    kind("sha1_root", lambda h: [leaf(h, by=SHA1_ROOT)], OK, trust=lambda: [SHA1_ROOT]),
    kind("rsa_1024", by_inter(key=key("rsa1024")), BAD, "its key is too small"),
    kind("rsa_1024_intermediate", lambda h: [leaf(h, by=SMALL_CA), SMALL_CA], BAD, "its key is too small",
         "subject CN=small CA"),
    kind("rsa_2048", by_inter(key=RSA), OK),
    kind("rsa_pss_signature", lambda h: [leaf(h, by=RSA_CA, digest="rsa-pss"), RSA_CA], OK),
    kind("rsa_pss_key", by_inter(key=pss_alone(RSA)), OK),
    kind("p384", by_inter(key=key("p384")), OK),
    kind("p521", by_inter(key=key("p521")), OK),
    kind("ed25519", by_inter(key=key("ed25519")), OK),
    kind("ed448", by_inter(key=key("ed448")), OK),
    kind("rsa_512_intermediate", by_ca(*CA_USE, key=key("rsa512")), BAD, "its key is too small",
         "subject CN=odd CA"),
    kind("p192_intermediate", by_ca(*CA_USE, key=key("p192")), BAD, "its key is too small"),
    kind("p224_intermediate", by_ca(*CA_USE, key=key("p224")), OK),
    kind("k256_intermediate", by_ca(*CA_USE, key=key("k256")), OK),
    kind("p224", by_inter(key=key("p224")), BAD, "refused TLS with the alert", error="tls_alert_received"),
    kind("explicit_curve", by_ca(*CA_USE, key=explicit(key("p256", "explicit"))), BAD,
         "its key writes out its curve instead of naming it", "subject CN=odd CA"),
    kind("dsa_1024_intermediate", by_ca(*CA_USE, key=key("dsa1024")), BAD, "its key is too small"),
    kind("unknown_key", by_ca(*CA_USE, key=key("p256", "unknown")._replace(
        spki=seq(seq(oid("1.2.3.4")), bits(b"key")))), BAD,
         "its issuer's certificate, shown by the server or trusted, has a key of a kind that is not known here"),
    # ---- names ----
    kind("wrong_host", named(dns("elsewhere.test")), BAD, "it is for elsewhere.test, " + NO_HOST),
    kind("cn_only", lambda h: [leaf(h, cn=h, san=False), INTER], BAD, "it holds no host name", "a CN does not count",
         curl="it takes the CN where there is no subjectAltName"),
    kind("cn_beside_san", lambda h: [leaf(h, cn=h, names=[dns("elsewhere.test")]), INTER], BAD, NO_HOST),
    kind("mail_alone", named(tlv(0x81, b"mail-alone.test")), BAD, "it holds no host name"),
    kind("wildcard", named(dns("*.wild.test")), OK, host="a.wild.test"),
    kind("wildcard_two_labels", named(dns("*.wild2.test")), BAD, NO_HOST + "; a star stands for one whole label",
         host="a.b.wild2.test"),
    kind("wildcard_itself", named(dns("*.wild3.test")), BAD, NO_HOST, host="wild3.test"),
    kind("wildcard_tld", named(dns("*.test")), BAD, NO_HOST),
    kind("wildcard_all", named(dns("*")), BAD, NO_HOST),
    kind("wildcard_partial", named(dns("wildcard*.part.test")), BAD, NO_HOST, host="wildcard1.part.test"),
    kind("wildcard_inside", named(dns("a.*.in.test")), BAD, NO_HOST, host="a.b.in.test"),
    kind("wildcard_a_label", named(dns("*.idn.test")), OK, host="xn--bcher-kva.idn.test"),
    kind("a_label", named(dns("xn--bcher-kva.test")), OK, host="xn--bcher-kva.test"),
    kind("u_label", named(dns("bücher2.test")), BAD, NO_HOST, host="xn--bcher2-3ya.test"),
    kind("mixed_case", named(dns("MiXeD-cAsE.TeSt")), OK),
    kind("trailing_dot", named(dns("trailing-dot.test.")), OK),
    kind("underscore", named(dns("under_score.test")), OK, host="under_score.test"),
    kind("nul_in_san", named(dns("nul-in-san.test\0.evil.test")), BAD, NO_HOST),
    kind("nul_in_cn", lambda h: [leaf(h, cn=h + "\0.evil.test", san=False), INTER], BAD, "it holds no host name"),
    kind("many_names", named(*MANY, dns("many-names.test")), OK),
    kind("too_many_names", named(*[dns("host%05d.test" % i) for i in range(10000)]), BAD,
         "certificates of more than 100 KiB", error="tls_protocol_error"),
    kind("empty_subject", lambda h: [certificate("", INTER, [alt_names(dns(h), critical=True)]), INTER], OK),
    kind("address", named(packed("192.0.2.1")), OK, host="192.0.2.1"),
    kind("address_as_name", named(dns("192.0.2.2")), BAD,
         "it holds this address as a host name (dNSName)", host="192.0.2.2"),
    kind("other_address", named(packed("192.0.2.4")), BAD, "it is for 192.0.2.4, not for this address",
         host="192.0.2.3"),
    kind("address_6", named(packed("2001:db8::1")), OK, host="2001:db8::1"),
    kind("address_4_in_6", named(packed("::ffff:192.0.2.5")), BAD, "not for this address", host="192.0.2.5"),
    kind("wildcard_address", named(dns("*.0.2.7")), BAD, "as a host name (dNSName), not as an address",
         host="192.0.2.7"),
    kind("wildcard_two", named(dns("*.*.two.test")), BAD, NO_HOST, host="a.b.two.test"),
    kind("wildcard_in_a_label", named(dns("xn--*.alabel.test")), BAD, NO_HOST, host="xn--bcher-kva.alabel.test"),
    kind("leading_dot", named(dns(".leading.test")), BAD, NO_HOST, host="www.leading.test"),
    kind("blank_behind", named(dns("blank-behind.test ")), BAD, NO_HOST),
    kind("empty_name", named(dns("")), BAD, "it holds no host name"),
    kind("other_name", named(tlv(0xa0, oid("1.2.3.4"), tlv(0xa0, tlv(12, b"other-name.test")))), BAD,
         "it holds no host name"),
    kind("uri_name", named(tlv(0x86, b"https://uri-name.test/")), BAD, "it holds no host name"),
    kind("no_names", lambda h: [certificate("", INTER, [alt_names()]), INTER], BAD, "it holds no host name"),
    kind("repeated_san", by_ca(*CA_USE, alt_names(dns("a.test")), alt_names(dns("b.test"))), BAD,
         "malformed or repeated extension"),
    kind("malformed_san", by_ca(*CA_USE, extension("2.5.29.17", b"garbage")), BAD,
         "malformed or repeated extension"),
    kind("address_of_5_bytes", named(ip(b"12345"), dns("address-of-5-bytes.test")), OK),
    kind("address_6_wrong", named(packed("2001:db8::3")), BAD, "it is for 2001:db8::3, not for this address",
         host="2001:db8::2"),
    # ---- what its CA may name ----
    kind("permitted", by_ca(*CA_USE, name_constraints(permitted=[dns("permitted.test")])), OK,
         host="www.permitted.test"),
    kind("not_permitted", by_ca(*CA_USE, name_constraints(permitted=[dns("permitted.test")])), BAD,
         "the CA CN=odd CA of its chain does not permit not-permitted.test"),
    kind("excluded", by_ca(*CA_USE, name_constraints(excluded=[dns("excluded.test")])), BAD,
         "the CA CN=odd CA of its chain excludes www.excluded.test", host="www.excluded.test"),
    kind("not_excluded", by_ca(*CA_USE, name_constraints(excluded=[dns("excluded.test")])), OK),
    kind("address_permitted", lambda h: [leaf(h, by=NET_CA, names=[packed(h)]), NET_CA], OK, host="192.0.2.6"),
    kind("address_not_permitted", lambda h: [leaf(h, by=NET_CA, names=[packed(h)]), NET_CA], BAD,
         "does not permit 198.51.100.1", host="198.51.100.1"),
    kind("excluded_below_a_star", lambda h: [leaf(h, by=STAR_CA, names=[dns("*.star.test")]), STAR_CA], BAD,
         "the CA CN=star CA of its chain excludes secret.star.test", host="secret.star.test",
         curl="it holds the star against what is excluded, not what it stands for"),
    kind("beside_excluded", lambda h: [leaf(h, by=STAR_CA, names=[dns("*.star.test")]), STAR_CA], OK,
         host="open.star.test"),
    kind("excluded_with_a_dot", lambda h: [leaf(h, by=STAR_CA, names=[dns("www.secret.star.test.")]), STAR_CA], BAD,
         "excludes www.secret.star.test", host="www.secret.star.test",
         curl="OpenSSL takes the dot for a part of the name"),
    kind("everything_excluded", by_ca(*CA_USE, name_constraints(excluded=[dns("")])), BAD,
         "excludes everything-excluded.test"),
    kind("addresses_excluded", by_ca(*CA_USE, name_constraints(
        [dns("test")], [net("0.0.0.0/0"), net("::/0")])), OK),
    kind("leading_dot_permitted", by_ca(*CA_USE, name_constraints(permitted=[dns(".ldot.test")])), OK,
         host="www.ldot.test"),
    kind("leading_dot_itself", by_ca(*CA_USE, name_constraints(permitted=[dns(".ldot2.test")])), BAD,
         "does not permit ldot2.test", host="ldot2.test"),
    kind("capitals_permitted", by_ca(*CA_USE, name_constraints(permitted=[dns("CAPITALS-permitted.TEST")])), OK),
    kind("suffix_no_label", by_ca(*CA_USE, name_constraints(permitted=[dns("label.test")])), BAD,
         "does not permit nolabel.test", host="nolabel.test"),
    kind("other_name_not_permitted", lambda h: [leaf(h, by=PART_CA, names=[dns(h), dns("b.elsewhere.test")]), PART_CA],
         BAD, "does not permit b.elsewhere.test", host="a.part2.test"),
    kind("address_excluded", lambda h: [leaf(h, by=NO_NET_CA, names=[packed(h)]), NO_NET_CA], BAD,
         "the CA CN=no net CA of its chain excludes 192.0.2.8", host="192.0.2.8"),
    kind("address_6_permitted", lambda h: [leaf(h, by=NET6_CA, names=[packed(h)]), NET6_CA], OK,
         host="2001:db8:1::1"),
    kind("address_6_not_permitted", lambda h: [leaf(h, by=NET6_CA, names=[packed(h)]), NET6_CA], BAD,
         "does not permit 2001:db8:2::1", host="2001:db8:2::1"),
    kind("address_beside_names", lambda h: [leaf(h, by=NAMES_CA, names=[packed(h)]), NAMES_CA], OK, host="192.0.2.9"),
    kind("cn_not_permitted", lambda h: [leaf(h, by=NAMES_CA, cn="cn.elsewhere.test", names=[packed(h)]), NAMES_CA],
         BAD, "the CA CN=names CA of its chain does not permit its CN", host="192.0.2.10"),
    kind("uri_constrained", by_ca(*CA_USE, name_constraints(permitted=[tlv(0x86, b".a.test")])), OK),
    kind("subject_constrained", by_ca(*CA_USE, name_constraints(permitted=[tlv(0xa4, name("elsewhere"))])), BAD,
         "does not permit its subject"),
    kind("constrained_above", lambda h: [leaf(h, by=BELOW_NAMES), BELOW_NAMES, NAMES_CA], BAD,
         "the CA CN=names CA of its chain does not permit constrained-above.test"),
    kind("constrained_root", lambda h: [leaf(h, by=NARROW_ROOT)], BAD,
         "the CA CN=narrow root of its chain does not permit constrained-root.test", trust=lambda: [NARROW_ROOT]),
    kind("constraint_malformed", by_ca(*CA_USE, extension("2.5.29.30", b"garbage", True)), BAD, "malformed"),
    kind("address_constraint_odd", lambda h: [leaf(h, by=ODD_NET_CA, names=[packed(h)]), ODD_NET_CA], BAD,
         "limits names in a way that is not known here", host="192.0.2.11"),
    kind("mail_constrained", by_ca(*CA_USE, name_constraints(permitted=[tlv(0x81, b"a.test")])), OK),
    kind("oid_constrained", by_ca(*CA_USE, name_constraints(permitted=[tlv(0x88, b"\x2a\x03")])), OK),
    kind("oid_named", lambda h: [leaf(h, by=OID_CA, names=[dns(h), tlv(0x88, b"\x2a\x03")]), OID_CA], BAD,
         "a CA of its chain limits names in a way that is not known here"),
    kind("too_much_to_check", lambda h: [leaf(h, by=LONG_CA, names=MANY + [dns(h)]), LONG_CA], BAD,
         "it has too many names for what its CA says of them"),
    kind("intermediate_client_auth", by_ca(*CA_USE, ext_key_usage("clientAuth")), BAD,
         "it is not meant to issue for TLS servers", "subject CN=odd CA"),
    # ---- what it is for ----
    kind("client_auth_only", by_inter(ext_key_usage("clientAuth")), BAD, "it is not meant for a TLS server"),
    kind("server_and_client", by_inter(ext_key_usage("clientAuth", "serverAuth")), OK),
    kind("any_purpose", by_inter(ext_key_usage("any")), BAD, "it is not meant for a TLS server"),
    kind("code_signing", by_inter(ext_key_usage("codeSigning")), BAD, "it is not meant for a TLS server"),
    kind("no_purpose", by_inter(), OK),
    kind("no_digital_signature", by_inter(key_usage("dataEncipherment")), BAD, "it is not meant for a TLS server"),
    kind("key_agreement_only", by_inter(key_usage("keyAgreement")), OK),
    kind("unknown_critical", by_inter(extension("1.2.3.4", b"\5\0", True)), BAD,
         "it has a critical extension that is not known here"),
    kind("must_staple", by_inter(extension("1.3.6.1.5.5.7.1.24", b"\x30\3\2\1\5")), OK),  # nor is OCSP asked
    kind("unknown", by_inter(extension("1.2.3.4", b"\5\0")), OK),
    kind("precertificate", by_inter(extension("1.3.6.1.4.1.11129.2.4.3", b"\5\0", True)), BAD,
         "it has a critical extension that is not known here"),
    kind("require_policy", by_ca(*CA_USE, extension("2.5.29.36", seq(tlv(0x80, b"\0")), True)), OK),
    kind("repeated_basic", by_ca(*CA_USE, basic(True)), BAD, "malformed or repeated extension"),
    kind("unknown_critical_ca", by_ca(*CA_USE, extension("1.2.3.4", b"\5\0", True)), BAD,
         "it has a critical extension that is not known here", "subject CN=odd CA"),
    kind("mail_only", by_inter(ext_key_usage("emailProtection")), BAD, "it is not meant for a TLS server"),
    kind("cert_sign_only", by_inter(key_usage("keyCertSign")), BAD, "it is not meant for a TLS server"),
    # ---- numbers ----
    kind("serial_zero", by_inter(serial=0), OK),
    kind("serial_negative", by_inter(serial=-7), OK),
    kind("serial_long", by_inter(serial=1 << 400), OK),
]

SELF = leaf("self-signed-trusted.test", by=None)
LEAF_CA = leaf("leaf.test", basic(False), cn="leaf", key=key("p256", "leaf"))
BELOW_INTER = authority("below intermediate", INTER)
RENEWED = authority("renewed CA", ROOT)
EXPIRED_TWIN = authority("renewed CA", ROOT, begin=NOW - 900 * DAY, end=PAST, key=RENEWED.key)
LONG_CA = authority("long CA", ROOT, *CA_USE,
                    name_constraints(excluded=[dns("x%03d.test" % i) for i in range(600)]))
OID_CA = authority("OID CA", ROOT, *CA_USE, name_constraints(permitted=[tlv(0x88, b"\x2a\x03")]))
NET_CA = authority("net CA", ROOT, *CA_USE, name_constraints(permitted=[net("192.0.2.0/24")]))

SHORT_ROOT = authority("short root", None, basic(True, 0), CA_USE[1])
BELOW_SHORT = authority("below short", SHORT_ROOT)
ROLLING = authority("rolling CA", ROOT, basic(True, 0), CA_USE[1])
ROLLED = authority("rolling CA", ROLLING)
CIRCLE_B = authority("circle B", None)
CIRCLE_A = authority("circle A", CIRCLE_B)
CIRCLE_B = authority("circle B", CIRCLE_A, key=CIRCLE_B.key)
LEAF_TRUSTED = leaf("leaf-trusted.test")
V1_ROOT = authority("v1 root", None, version=1)
CLIENT_ROOT = authority("client root", None, *CA_USE, ext_key_usage("clientAuth"))
STAR_CA = authority("star CA", ROOT, *CA_USE, name_constraints(excluded=[dns("secret.star.test")]))
PART_CA = authority("part CA", ROOT, *CA_USE, name_constraints(permitted=[dns("part2.test")]))
NO_NET_CA = authority("no net CA", ROOT, *CA_USE, name_constraints(excluded=[net("192.0.2.0/24")]))
NET6_CA = authority("net6 CA", ROOT, *CA_USE, name_constraints(permitted=[net("2001:db8:1::/48")]))
NAMES_CA = authority("names CA", ROOT, *CA_USE, name_constraints(permitted=[dns("names.test")]))
BELOW_NAMES = authority("below names", NAMES_CA)
NARROW_ROOT = authority("narrow root", None, *CA_USE, name_constraints(permitted=[dns("narrow.test")]))
ODD_NET_CA = authority("odd net CA", ROOT, *CA_USE, name_constraints(permitted=[ip(b"12345")]))


def is_address(host):
    return ":" in host or host.replace(".", "").isdigit()


class World:
    """One server that chooses by SNI, and one for each address, which has none; a proxy for each set of lists."""

    def __init__(self, directory):
        self.dir, self.proxies, self.servers = directory, {}, {}
        contexts = {k.host: server_context(directory, k.shown(k.host)) for k in KINDS}
        assert len(contexts) == len(KINDS), "two kinds for one host"
        default = contexts[KINDS[0].host]
        self.main = self.servers[None] = Server(answering(lambda r, c: ok("taken")), default)
        default.sni_callback = lambda tls, name, ctx: setattr(
            tls, "context", contexts.get(name, default))
        for k in KINDS:
            if is_address(k.host):
                self.servers[k.host] = Server(answering(lambda r, c: ok("taken")), contexts[k.host])

    def server(self, k):
        return self.servers.get(k.host, self.main)

    def ca_file(self, k):
        return write(self.dir, k.name + ".ca", to_pem(*(k.trust() if k.trust else [ROOT])))

    def crl_file(self, k):
        return write(self.dir, k.lists.__name__ + ".crl", k.lists())

    def proxy(self, k):
        if k.lists not in self.proxies:
            brackets = {True: "[%s]", False: "%s"}
            to = ['"%s:443:127.0.0.1:%d"' % (brackets[":" in host] % host if host else "", s.port)
                  for host, s in sorted(self.servers.items(), key=lambda x: x[0] is None)]
            conf = "connect_to = {%s}\n" % ", ".join(to)
            conf += 'tls { ca_file = "%s" %s }\n' % (
                self.ca_file(KINDS[0]), 'crl_file = "%s"' % self.crl_file(k) if k.lists else "")
            conf += "".join('rule "%s" { ca_file = "%s" }\n' % (x.host, self.ca_file(x)) for x in KINDS if x.trust)
            self.proxies[k.lists] = Proxy(self.dir, conf)
        return self.proxies[k.lists]

    def ask(self, k):
        """What the proxy answers, and how many requests that made at the server."""
        server = self.server(k)
        count = len(server.requests)
        with self.proxy(k).client() as c:
            host = "[%s]" % k.host if ":" in k.host else k.host
            return c.get("http://%s/" % host), lambda: len(server.requests) - count

    def curl(self, k):
        """The exit status of curl, 0: taken."""
        host = "[%s]" % k.host if ":" in k.host else k.host
        lists = ["--crlfile", self.crl_file(k)] if k.lists else []
        done = subprocess.run(["curl", "-q", "-s", "-o", "/dev/null", "--noproxy", "*", "--http1.1", "--cacert",
                               self.ca_file(k), *lists, "--connect-to", "::127.0.0.1:%d" % self.server(k).port,
                               "https://%s/" % host], env=clean_env(), timeout=60)
        return done.returncode

    def stop(self):
        for p in self.proxies.values():
            p.stop()
        for s in self.servers.values():
            s.stop()


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    if binary() is None:
        pytest.skip("no tlsfan: build it, or set TLSFAN_BIN")
    made = World(tmp_path_factory.mktemp("kinds"))
    yield made
    made.stop()


EACH = pytest.mark.parametrize("k", KINDS, ids=lambda k: k.name)


@EACH
def test_verdict(world, k):
    r, asked = world.ask(k)
    if k.verdict == OK:
        assert r.status == 200 and r.text == "taken" and asked() == 1, r.text
        return
    assert r.status == 502 and r.error == k.error and asked() == 0, r
    for word in k.words:
        assert word in r.text and word in r.get("Proxy-Status"), r.text
    assert k.words and k.host in r.text and r.text.rstrip("\n").isprintable() and r.text.isascii()


CURL_REFUSES = (35, 60)  # a handshake that fails; a certificate that does not verify


@EACH
def test_curl_says_the_same(world, k):
    said = world.curl(k)
    assert said in (0, *CURL_REFUSES), said
    assert ((said == 0) == (k.verdict == OK)) == (k.curl is None), said


def test_each_is_in_the_list_once():
    assert len({k.name for k in KINDS}) == len(KINDS) >= 100


# ---- what is agreed on beside the certificate ----

# Oakley group 2 (RFC 2409 section 6.2): 1,024 bits.
OAKLEY_2 = int("FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74"
               "020BBEA63B139B22514A08798E3404DDEF9519B3CD3A431B302B0A6DF25F1437"
               "4FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7ED"
               "EE386BFB5A899FA5AE9F24117C4B1FE649286651ECE65381FFFFFFFFFFFFFFFF", 16)


def test_weak_dh(world, make_proxy):
    """Certificate and version are good, the keys of the session are not."""
    ctx = server_context(world.dir, [leaf("weak-dh.test", key=RSA), INTER])
    ctx.maximum_version = ssl.TLSVersion.TLSv1_2
    ctx.set_ciphers("DHE:@SECLEVEL=0")
    ctx.load_dh_params(write(world.dir, "dh.pem", pem("DH PARAMETERS", seq(integer(OAKLEY_2), integer(2)))))
    server = Server(answering(lambda r, c: ok()), ctx)
    p = make_proxy('connect_to = {":443:127.0.0.1:%d"}\ntls { ca_file = "%s" }\n'
                   % (server.port, world.ca_file(KINDS[0])), tls=False)
    with p.client() as c:
        r = c.get("http://weak-dh.test/")
    assert r.status == 502 and r.error == "tls_protocol_error" and "Diffie-Hellman key that is too small" in r.text, r
    assert server.requests == []
    done = subprocess.run(["curl", "-q", "-s", "--noproxy", "*", "--cacert", world.ca_file(KINDS[0]), "--connect-to",
                           "::127.0.0.1:%d" % server.port, "https://weak-dh.test/"], env=clean_env(), timeout=60)
    assert done.returncode == 35
    server.stop()
