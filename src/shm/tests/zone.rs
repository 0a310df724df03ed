//! The zone as a whole: how it is made, taken up and filled.

use super::*;

#[test]
fn memory_that_is_too_small_is_not_touched() {
    let least = size_for(1);
    for size in [0, 1, 8, PAGE, size_of::<Header<Lock>>(), least - 8] {
        let (memory, behind) = memory(least).split_at_mut(size);
        let place = memory.as_ptr();
        assert_eq!(create(memory, 1).err(), Some(Unfit::TooSmall), "{size}");
        // SAFETY: nothing else uses the memory.
        let memory = unsafe { slice::from_raw_parts(place, size) };
        assert!(memory.iter().chain(&*behind).all(|byte| *byte == 0), "{size}");
    }
    assert_eq!(zone(1).capacity(), 1);
}

#[test]
fn a_zone_stays_within_its_memory() {
    const MARK: u8 = 0xa5;
    let size = size_for(3);
    let (memory, behind) = memory(size + PAGE).split_at_mut(size);
    memory.fill(MARK);
    behind.fill(MARK);
    let zone = create(memory, 1).expect("it is large enough");
    for name in ["a", "b", "c"] {
        pause(&zone, entry(&zone, name).app());
        zone.lock().entry(AppId(2), SLOT, 0).expect("there is room").lane.add(Count::Held);
    }
    assert!(behind.iter().all(|byte| *byte == MARK));
}

#[test]
fn more_workers_leave_room_for_fewer_apps() {
    let size = 256 * 1024;
    let [one, many, most] =
        [1, 64, 100_000].map(|workers| create(memory(size), workers).expect("large enough"));
    assert!(one.capacity() > many.capacity() && many.capacity() > most.capacity());
    assert_eq!(most.chunks.len(), most.capacity() * SLOTS / CHUNK_LANES);
}

#[test]
fn a_zone_that_is_there_is_taken_up_as_it_is() {
    let size = size_for(2);
    let memory = memory(size);
    let place = NonNull::from(&mut *memory).cast();
    let first = create(memory, 1).expect("it is large enough");
    pause(&first, entry(&first, "shop").app());
    first.set_serial(7);
    // SAFETY: a zone was made in it.
    let second = unsafe { Zone::<Lock>::attach(place) }.expect("it is a zone");
    let app = second.lock().find(b"shop").expect("it is known");
    assert_eq!((second.state(app), second.serial()), (State::Paused, 7));
    assert_eq!(second.capacity(), first.capacity());
}

#[test]
fn what_is_no_zone_of_ours_is_foreign() {
    let size = size_for(1);
    let memory = memory(size);
    let place = NonNull::from(&mut *memory).cast::<u8>();
    // SAFETY: the memory is as large as a header, whose numbers these are.
    let attach = |magic: u64, version: u32| unsafe {
        let header = place.cast::<Header<Lock>>().as_ptr();
        addr_of_mut!((*header).magic).write(magic);
        addr_of_mut!((*header).version).write(version);
        Zone::<Lock>::attach(place).map(|_| ())
    };
    create(memory, 1).expect("it is large enough");
    for (magic, version, expected) in [
        (MAGIC, VERSION, Ok(())),
        (0, 0, Err(Unfit::Foreign)),
        (MAGIC, VERSION + 1, Err(Unfit::Foreign)),
        (MAGIC, VERSION - 1, Err(Unfit::Foreign)),
        (MAGIC.swap_bytes(), VERSION, Err(Unfit::Foreign)),
    ] {
        assert_eq!(attach(magic, version), expected, "{magic:x} {version}");
    }
}

#[test]
fn memory_in_use_is_told() {
    let zone = zone(3);
    assert_eq!(zone.memory().used, 0);
    entry(&zone, "a");
    assert_eq!(zone.memory().used, size_of::<App>() + size_of::<Chunk>());
    assert_eq!(zone.memory().size, 3 * (size_of::<App>() + size_of::<Chunk>()));
}
