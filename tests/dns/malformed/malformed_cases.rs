//! Hand-made malformed packets, each for one weak point.

/// Returns all packets with their descriptions.
pub fn malformed_packets() -> Vec<(&'static str, Vec<u8>)> {
    let plain = header(0x0100, [1, 0, 0, 0]);
    let a = query(1, 1);
    let with_name = |name: &[u8]| packet(&plain, &[name, &[0, 1, 0, 1]]);
    let mut all = vec![
        ("nothing", Vec::new()),
        ("one byte", vec![7]),
        ("a truncated header", plain[..11].to_vec()),
        ("a header that counts one question", plain.to_vec()),
        ("a header that counts no records", header(0x0100, [0, 0, 0, 0]).to_vec()),
        ("a header with all counts at their maximum", header(0x0100, [0xffff; 4]).to_vec()),
        ("one question, and a count of 65535", packet(&header(0x0100, [0xffff, 0, 0, 0]), &[&a])),
        ("a count of one missing answer", packet(&header(0x0100, [1, 1, 0, 0]), &[&a])),
        (
            "a count of 65535 missing authority records",
            packet(&header(0x0100, [1, 0, 0xffff, 0]), &[&a]),
        ),
        ("a count of one missing additional record", packet(&header(0x0100, [1, 0, 0, 1]), &[&a])),
        ("two questions", packet(&header(0x0100, [2, 0, 0, 0]), &[&a, &a])),
        (
            "no question, with trailing bytes",
            packet(&header(0x0100, [0, 0, 0, 0]), &[&[0xff; 400]]),
        ),
        ("trailing bytes", packet(&plain, &[&a, &[0xff; 400]])),
        ("a response instead of a query", packet(&header(0x8180, [1, 0, 0, 0]), &[&a])),
        ("a response with an error code", packet(&header(0x8181, [0, 0, 0, 0]), &[])),
        ("all flags", packet(&header(0x7fff, [1, 0, 0, 0]), &[&a])),
        // Names.
        ("a pointer to itself", with_name(&[0xc0, 12])),
        ("pointers to each other", with_name(&[0xc0, 14, 0xc0, 12])),
        ("a label and a pointer back to it", with_name(&[1, b'a', 0xc0, 12])),
        ("a forward pointer", with_name(&[0xc0, 20, 0, 1, 0, 1, 1, b'a', 0])),
        ("a pointer beyond the end", with_name(&[0xff, 0xff])),
        ("a pointer into the header", with_name(&[0xc0, 0])),
        ("a truncated pointer", packet(&plain, &[&[0xc0]])),
        ("a label of 64 bytes", with_name(&[&[64], &[b'x'; 64][..], &[0]].concat())),
        ("a label with the reserved type 10", with_name(&[0x80, b'a', 0])),
        ("a truncated label", packet(&plain, &[&[63, b'a', b'b']])),
        ("a name without an end", packet(&plain, &[&[1, b'a']])),
        ("a name without type and class", packet(&plain, &[&[1, b'a', 0]])),
        ("a name with half a type", packet(&plain, &[&[1, b'a', 0, 0]])),
        ("the root", with_name(&[0])),
        ("a name of 255 bytes", with_name(&long_name(&[63, 63, 63, 61]))),
        ("a name of 256 bytes", with_name(&long_name(&[63, 63, 63, 62]))),
        ("a name of 500 bytes", with_name(&long_name(&[63, 63, 63, 63, 63, 63, 63, 43]))),
        ("127 labels", with_name(&long_name(&[1; 127]))),
        ("200 labels", with_name(&long_name(&[1; 200]))),
        (
            "bytes that are not letters",
            with_name(&in_domain(&[0, 0xff, b'.', b'/', b'\\', b'*', b'\n'])),
        ),
        ("half a UTF-8 character", with_name(&in_domain(&[0xc3]))),
        ("a slash", with_name(&in_domain(b"dns/ns"))),
        ("dots", with_name(&in_domain(b".."))),
        ("127 wildcards", with_name(&[&[1, b'*'].repeat(120)[..], &domain()].concat())),
        // EDNS.
        ("EDNS with buffer size 0", edns(&a, &[0], 0, 0, &[])),
        ("EDNS with the maximum buffer size", edns(&a, &[0], 0xffff, 0, &[])),
        ("EDNS version 1", edns(&a, &[0], 1232, 0x0001_0000, &[])),
        ("EDNS version 255, all flags", edns(&a, &[0], 1232, 0xffff_ffff, &[])),
        ("EDNS with a name", edns(&a, &[1, b'a', 0], 1232, 0, &[])),
        ("EDNS with a wrong option length", edns(&a, &[0], 1232, 0, &[0, 3, 0xff, 0xff])),
        ("EDNS with half an option", edns(&a, &[0], 1232, 0, &[0, 3, 0])),
        ("EDNS with an invalid subnet", edns(&a, &[0], 1232, 0, &[0, 8, 0, 4, 0, 9, 99, 99])),
        ("EDNS with a short cookie", edns(&a, &[0], 1232, 0, &[0, 10, 0, 3, 1, 2, 3])),
        ("EDNS with 4,000 bytes", edns(&a, &[0], 1232, 0, &option(12, 4000))),
        ("EDNS with 60,000 bytes", edns(&a, &[0], 1232, 0, &option(12, 60_000))),
        ("EDNS twice", {
            let opt = record(&[0], 41, 1232, 0, &[]);
            packet(&header(0x0100, [1, 0, 0, 2]), &[&a, &opt, &opt])
        }),
        ("EDNS in the answer section", {
            let opt = record(&[0], 41, 1232, 0, &[]);
            packet(&header(0x0100, [1, 1, 0, 0]), &[&a, &opt])
        }),
        ("EDNS with a wrong record length", {
            let opt = [0, 0, 41, 4, 208, 0, 0, 0, 0, 0xff, 0xff];
            packet(&header(0x0100, [1, 0, 0, 1]), &[&a, &opt])
        }),
        // Records in a query.
        ("an invalid TSIG record", {
            let tsig = record(&[1, b'k', 0], 250, 255, 0, &[0xff; 30]);
            packet(&header(0x0100, [1, 0, 0, 1]), &[&a, &tsig])
        }),
        ("an invalid SIG(0) record", {
            let sig = record(&[0], 24, 255, 0, &[0; 12]);
            packet(&header(0x0100, [1, 0, 0, 1]), &[&a, &sig])
        }),
        ("an A record of 3 bytes", {
            let short = record(&[0xc0, 12], 1, 1, 60, &[1, 2, 3]);
            packet(&header(0x0100, [1, 1, 0, 0]), &[&a, &short])
        }),
        ("an SRV record that points to itself", {
            let srv = record(&[0xc0, 12], 33, 1, 60, &[0, 1, 0, 1, 0, 1, 0xc0, 48]);
            packet(&header(0x0100, [1, 0, 0, 1]), &[&a, &srv])
        }),
        ("a TXT record with a wrong text length", {
            let txt = record(&[0xc0, 12], 16, 1, 60, &[255, b'x']);
            packet(&header(0x0100, [1, 0, 1, 0]), &[&a, &txt])
        }),
        ("NSEC with an overlong type bitmap", {
            let nsec = record(&[0], 47, 1, 60, &[0, 0, 0xff, 1, 2, 3]);
            packet(&header(0x0100, [1, 0, 0, 1]), &[&a, &nsec])
        }),
        ("1,000 records", {
            let one = record(&[0xc0, 12], 1, 1, 60, &[1, 2, 3, 4]);
            packet(&header(0x0100, [1, 0, 0, 1000]), &[&a, &one.repeat(1000)])
        }),
        (
            "3,000 questions",
            packet(&header(0x0100, [3000, 0, 0, 0]), &[&a, &[0xc0, 12, 0, 1, 0, 1].repeat(2999)]),
        ),
        ("10,000 pointers to pointers", {
            let links: Vec<u8> =
                (0..5000_u16).flat_map(|at| (0xc000 | (12 + 2 * at)).to_be_bytes()).collect();
            packet(&plain, &[&[0xc0, 12], &links, &[0, 1, 0, 1]])
        }),
        ("zeros", vec![0; 512]),
        ("ones", vec![0xff; 512]),
        ("ones, maximum length", vec![0xff; 65_507]),
    ];
    // All operations, and unusual classes and types.
    for code in 0..16_u16 {
        all.push(("an operation", packet(&header(0x0100 | code << 11, [1, 0, 0, 0]), &[&a])));
        all.push(("an operation without a question", header(code << 11, [0, 0, 0, 0]).to_vec()));
    }
    for class in [0, 2, 3, 4, 254, 255, 0x8001, 0xffff] {
        all.push(("a class", packet(&plain, &[&query(1, class)])));
    }
    for kind in [0, 10, 41, 46, 249, 250, 251, 252, 253, 254, 255, 0x8000, 0xffff] {
        all.push(("a type", packet(&plain, &[&query(kind, 1)])));
    }
    all
}

fn header(flags: u16, counts: [u16; 4]) -> [u8; 12] {
    let mut header = [0; 12];
    header[..2].copy_from_slice(&0x4248_u16.to_be_bytes());
    header[2..4].copy_from_slice(&flags.to_be_bytes());
    for (at, count) in counts.iter().enumerate() {
        header[4 + 2 * at..6 + 2 * at].copy_from_slice(&count.to_be_bytes());
    }
    header
}

fn packet(header: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    let mut packet = [header, &parts.concat()].concat();
    packet.truncate(65_507);
    packet
}

fn domain() -> Vec<u8> {
    b"\x06skydns\x05local\0".to_vec()
}

fn in_domain(label: &[u8]) -> Vec<u8> {
    [&[u8::try_from(label.len()).unwrap()], label, &domain()].concat()
}

fn query(kind: u16, class: u16) -> Vec<u8> {
    [&in_domain(b"httpd")[..], &kind.to_be_bytes(), &class.to_be_bytes()].concat()
}

fn long_name(labels: &[u8]) -> Vec<u8> {
    let mut name: Vec<u8> = Vec::new();
    for length in labels {
        name.push(*length);
        name.extend(std::iter::repeat_n(b'x', usize::from(*length)));
    }
    name.push(0);
    name
}

fn record(name: &[u8], kind: u16, class: u16, ttl: u32, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(data.len()).unwrap();
    let fixed =
        [&kind.to_be_bytes()[..], &class.to_be_bytes(), &ttl.to_be_bytes(), &length.to_be_bytes()];
    [name, &fixed.concat(), data].concat()
}

fn option(code: u16, length: u16) -> Vec<u8> {
    [&code.to_be_bytes()[..], &length.to_be_bytes(), &vec![7; length.into()]].concat()
}

fn edns(query: &[u8], name: &[u8], size: u16, flags: u32, options: &[u8]) -> Vec<u8> {
    let opt = record(name, 41, size, flags, options);
    packet(&header(0x0100, [1, 0, 0, 1]), &[query, &opt])
}
