// How users hear of events: a callback that throws takes no other event with it.

/**
 * Hands each event of `events` to `tell`, in order, and takes it out. What is added meanwhile stays for the next call; so does
 * what comes after an event whose `tell` throws.
 */
export function tellAll<T>(events: T[], tell: (event: T) => void): void {
  const count = events.length;
  let told = 0;
  try {
    while (told < count) tell(events[told++]!);
  } finally {
    events.splice(0, told);
  }
}
