// Whether bytes can be the beginning of an archive that the runtime reads: a tar, as it is or compressed.

/** As much as is looked at. */
export const HEAD_BYTES = 512;

const MAGIC = [Buffer.from('1f8b', 'hex'), Buffer.from('28b52ffd', 'hex')];
const CHECKSUM = { start: 148, end: 156 } as const;
const BLANK = 0x20;

/** True for gzip, zstd, and a tar header whose checksum is right; also for the empty tar, which begins with zeros. */
export function isArchiveHead(head: Buffer): boolean {
  if (MAGIC.some((magic) => head.subarray(0, magic.length).equals(magic))) return true;
  if (head.length < HEAD_BYTES) return false;
  const header = head.subarray(0, HEAD_BYTES);
  if (header.every((byte) => byte === 0)) return true;
  const written = header.toString('latin1', CHECKSUM.start, CHECKSUM.end).replace(/[\0 ]+$/, '');
  // The field itself counts as blanks.
  const sum = header.reduce(
    (total, byte, index) => total + (index >= CHECKSUM.start && index < CHECKSUM.end ? BLANK : byte),
    0,
  );
  return /^ *[0-7]+$/.test(written) && Number.parseInt(written, 8) === sum;
}
