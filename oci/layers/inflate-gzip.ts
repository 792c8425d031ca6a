// A gzip file inflated in memory in one go, where both of its sizes are small enough: faster than a stream, and the
// digest of the tar is known before its first entry is looked at.
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';

const MAGIC = 0x8b1f;
/** Header and trailer of an empty member. */
const MIN_MEMBER_BYTES = 18;

/** Inflates one member from the start of `input` into `output`. Supplied by the runtime shim where it can. */
export type GzipInflater = (
  input: Buffer,
  output: Buffer,
) => { readonly read: number; readonly written: number } | 'too-large' | 'damaged';

export interface WholeGzip {
  /**
   * The content of the gzip file at `path`, valid until the next call; undefined when it is too large, or not what a
   * whole gzip file looks like: then a stream must do it, and say what is wrong.
   */
  read(path: string): Buffer | undefined;
}

/** A reader that holds at most `maxBytes`, compressed and inflated bytes together. */
export function createWholeGzip(inflate: GzipInflater, maxBytes: number): WholeGzip {
  // Kept between layers: fresh memory would be zeroed page by page each time.
  let input: Buffer = Buffer.alloc(0);
  let output: Buffer = Buffer.alloc(0);
  return {
    read(path) {
      const fd = openSync(path, 'r');
      try {
        const { size } = fstatSync(fd);
        if (size < MIN_MEMBER_BYTES || size > maxBytes) return undefined;
        // The last four bytes are the content's size: of the last member only, and whatever the sender wrote there.
        const claimed = readAt(fd, 4, size - 4).readUInt32LE(0);
        if (size + claimed > maxBytes || readAt(fd, 2, 0).readUInt16LE(0) !== MAGIC) return undefined;
        if (input.length < size) input = Buffer.allocUnsafeSlow(size);
        if (output.length < claimed) output = Buffer.allocUnsafeSlow(claimed);
        if (!fill(fd, input.subarray(0, size))) return undefined;
        return inflateMembers(inflate, input.subarray(0, size), output);
      } finally {
        closeSync(fd);
      }
    },
  };
}

function inflateMembers(inflate: GzipInflater, input: Buffer, output: Buffer): Buffer | undefined {
  let read = 0;
  let written = 0;
  while (read < input.length) {
    const member = inflate(input.subarray(read), output.subarray(written));
    if (typeof member === 'string' || member.read === 0) return undefined;
    read += member.read;
    written += member.written;
  }
  return output.subarray(0, written);
}

function readAt(fd: number, length: number, position: number): Buffer {
  const bytes = Buffer.alloc(length);
  readSync(fd, bytes, 0, length, position);
  return bytes;
}

function fill(fd: number, target: Buffer): boolean {
  let done = 0;
  while (done < target.length) {
    const count = readSync(fd, target, done, target.length - done, done);
    if (count === 0) return false;
    done += count;
  }
  return true;
}
