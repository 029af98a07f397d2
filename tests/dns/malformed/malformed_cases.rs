//! Packets that no client should send, each made by hand for one weak spot.

/// A name for what it is, and its bytes.
pub fn malformed_packets() -> Vec<(&'static str, Vec<u8>)> {
    let plain = head(0x0100, [1, 0, 0, 0]);
    let a = query(1, 1);
    let with_name = |name: &[u8]| packet(&plain, &[name, &[0, 1, 0, 1]]);
    let mut all = vec![
        ("nothing", Vec::new()),
        ("one byte", vec![7]),
        ("a head cut short", plain[..11].to_vec()),
        ("a head alone that promises a question", plain.to_vec()),
        ("a head alone that promises nothing", head(0x0100, [0, 0, 0, 0]).to_vec()),
        ("a head that promises all there can be", head(0x0100, [0xffff; 4]).to_vec()),
        ("a question, and 65535 promised", packet(&head(0x0100, [0xffff, 0, 0, 0]), &[&a])),
        ("an answer promised", packet(&head(0x0100, [1, 1, 0, 0]), &[&a])),
        ("an authority promised", packet(&head(0x0100, [1, 0, 0xffff, 0]), &[&a])),
        ("an additional record promised", packet(&head(0x0100, [1, 0, 0, 1]), &[&a])),
        ("two questions", packet(&head(0x0100, [2, 0, 0, 0]), &[&a, &a])),
        ("no question but trailing bytes", packet(&head(0x0100, [0, 0, 0, 0]), &[&[0xff; 400]])),
        ("trailing bytes", packet(&plain, &[&a, &[0xff; 400]])),
        ("an answer instead of a question", packet(&head(0x8180, [1, 0, 0, 0]), &[&a])),
        ("an answer with a fault", packet(&head(0x8181, [0, 0, 0, 0]), &[])),
        ("all flags", packet(&head(0x7fff, [1, 0, 0, 0]), &[&a])),
        // Names.
        ("a pointer to itself", with_name(&[0xc0, 12])),
        ("two pointers to each other", with_name(&[0xc0, 14, 0xc0, 12])),
        ("a label and a pointer back to it", with_name(&[1, b'a', 0xc0, 12])),
        ("a pointer ahead", with_name(&[0xc0, 20, 0, 1, 0, 1, 1, b'a', 0])),
        ("a pointer to behind the end", with_name(&[0xff, 0xff])),
        ("a pointer into the head", with_name(&[0xc0, 0])),
        ("a pointer cut short", packet(&plain, &[&[0xc0]])),
        ("a label of 64 bytes", with_name(&[&[64], &[b'x'; 64][..], &[0]].concat())),
        ("a label of the kind 10", with_name(&[0x80, b'a', 0])),
        ("a label cut short", packet(&plain, &[&[63, b'a', b'b']])),
        ("a name without an end", packet(&plain, &[&[1, b'a']])),
        ("a name without type and class", packet(&plain, &[&[1, b'a', 0]])),
        ("a name with half a type", packet(&plain, &[&[1, b'a', 0, 0]])),
        ("the root", with_name(&[0])),
        ("a name of 255 bytes", with_name(&long_name(&[63, 63, 63, 61]))),
        ("a name of 256 bytes", with_name(&long_name(&[63, 63, 63, 62]))),
        ("a name of 500 bytes", with_name(&long_name(&[63, 63, 63, 63, 63, 63, 63, 43]))),
        ("127 labels", with_name(&long_name(&[1; 127]))),
        ("200 labels", with_name(&long_name(&[1; 200]))),
        ("no letters", with_name(&in_domain(&[0, 0xff, b'.', b'/', b'\\', b'*', b'\n']))),
        ("half of a letter of UTF-8", with_name(&in_domain(&[0xc3]))),
        ("a slash", with_name(&in_domain(b"dns/ns"))),
        ("dots", with_name(&in_domain(b".."))),
        ("127 wildcards", with_name(&[&[1, b'*'].repeat(120)[..], &domain()].concat())),
        // EDNS.
        ("EDNS for nothing", edns(&a, &[0], 0, 0, &[])),
        ("EDNS for all", edns(&a, &[0], 0xffff, 0, &[])),
        ("EDNS version 1", edns(&a, &[0], 1232, 0x0001_0000, &[])),
        ("EDNS version 255, all flags", edns(&a, &[0], 1232, 0xffff_ffff, &[])),
        ("EDNS with a name", edns(&a, &[1, b'a', 0], 1232, 0, &[])),
        ("EDNS with an option that lies", edns(&a, &[0], 1232, 0, &[0, 3, 0xff, 0xff])),
        ("EDNS with half an option", edns(&a, &[0], 1232, 0, &[0, 3, 0])),
        ("EDNS with a subnet that is none", edns(&a, &[0], 1232, 0, &[0, 8, 0, 4, 0, 9, 99, 99])),
        ("EDNS with a short cookie", edns(&a, &[0], 1232, 0, &[0, 10, 0, 3, 1, 2, 3])),
        ("EDNS with 4,000 bytes", edns(&a, &[0], 1232, 0, &option(12, 4000))),
        ("EDNS with 60,000 bytes", edns(&a, &[0], 1232, 0, &option(12, 60_000))),
        ("EDNS twice", {
            let opt = record(&[0], 41, 1232, 0, &[]);
            packet(&head(0x0100, [1, 0, 0, 2]), &[&a, &opt, &opt])
        }),
        ("EDNS as an answer", {
            let opt = record(&[0], 41, 1232, 0, &[]);
            packet(&head(0x0100, [1, 1, 0, 0]), &[&a, &opt])
        }),
        ("EDNS of a length that lies", {
            let opt = [0, 0, 41, 4, 208, 0, 0, 0, 0, 0xff, 0xff];
            packet(&head(0x0100, [1, 0, 0, 1]), &[&a, &opt])
        }),
        // Records in a question.
        ("a signature that is none", {
            let tsig = record(&[1, b'k', 0], 250, 255, 0, &[0xff; 30]);
            packet(&head(0x0100, [1, 0, 0, 1]), &[&a, &tsig])
        }),
        ("SIG(0) that is none", {
            let sig = record(&[0], 24, 255, 0, &[0; 12]);
            packet(&head(0x0100, [1, 0, 0, 1]), &[&a, &sig])
        }),
        ("an A record of 3 bytes", {
            let short = record(&[0xc0, 12], 1, 1, 60, &[1, 2, 3]);
            packet(&head(0x0100, [1, 1, 0, 0]), &[&a, &short])
        }),
        ("an SRV record that points to itself", {
            let srv = record(&[0xc0, 12], 33, 1, 60, &[0, 1, 0, 1, 0, 1, 0xc0, 48]);
            packet(&head(0x0100, [1, 0, 0, 1]), &[&a, &srv])
        }),
        ("a TXT record whose text lies", {
            let txt = record(&[0xc0, 12], 16, 1, 60, &[255, b'x']);
            packet(&head(0x0100, [1, 0, 1, 0]), &[&a, &txt])
        }),
        ("NSEC with an endless map of types", {
            let nsec = record(&[0], 47, 1, 60, &[0, 0, 0xff, 1, 2, 3]);
            packet(&head(0x0100, [1, 0, 0, 1]), &[&a, &nsec])
        }),
        ("1,000 records", {
            let one = record(&[0xc0, 12], 1, 1, 60, &[1, 2, 3, 4]);
            packet(&head(0x0100, [1, 0, 0, 1000]), &[&a, &one.repeat(1000)])
        }),
        (
            "3,000 questions",
            packet(&head(0x0100, [3000, 0, 0, 0]), &[&a, &[0xc0, 12, 0, 1, 0, 1].repeat(2999)]),
        ),
        ("10,000 pointers to pointers", {
            let links: Vec<u8> =
                (0..5000_u16).flat_map(|at| (0xc000 | (12 + 2 * at)).to_be_bytes()).collect();
            packet(&plain, &[&[0xc0, 12], &links, &[0, 1, 0, 1]])
        }),
        ("zeros", vec![0; 512]),
        ("ones", vec![0xff; 512]),
        ("ones as many as fit", vec![0xff; 65_507]),
    ];
    // Every operation, and a class and type of every sort.
    for code in 0..16_u16 {
        all.push(("an operation", packet(&head(0x0100 | code << 11, [1, 0, 0, 0]), &[&a])));
        all.push(("an operation without a question", head(code << 11, [0, 0, 0, 0]).to_vec()));
    }
    for class in [0, 2, 3, 4, 254, 255, 0x8001, 0xffff] {
        all.push(("a class", packet(&plain, &[&query(1, class)])));
    }
    for kind in [0, 10, 41, 46, 249, 250, 251, 252, 253, 254, 255, 0x8000, 0xffff] {
        all.push(("a type", packet(&plain, &[&query(kind, 1)])));
    }
    all
}

fn head(flags: u16, counts: [u16; 4]) -> [u8; 12] {
    let mut head = [0; 12];
    head[..2].copy_from_slice(&0x4248_u16.to_be_bytes());
    head[2..4].copy_from_slice(&flags.to_be_bytes());
    for (at, count) in counts.iter().enumerate() {
        head[4 + 2 * at..6 + 2 * at].copy_from_slice(&count.to_be_bytes());
    }
    head
}

fn packet(head: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    let mut packet = [head, &parts.concat()].concat();
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
    packet(&head(0x0100, [1, 0, 0, 1]), &[query, &opt])
}
