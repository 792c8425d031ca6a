// The instructions of a seccomp filter as the kernel takes it: classic BPF over struct seccomp_data (linux/filter.h,
// linux/seccomp.h). Only those are named that decide by architecture and number of a call.

export interface Instruction {
  readonly code: number;
  /** How many instructions to skip where a comparison is true, and where it is not. */
  readonly jt: number;
  readonly jf: number;
  readonly k: number;
}

export const OP = {
  load: 0x20,
  jump: 0x05,
  ifEqual: 0x15,
  ifGreater: 0x25,
  ifAtLeast: 0x35,
  return: 0x06,
} as const;

/** Where in a call's data it lies; from there on, what the call is given. */
export const FIELD = { number: 0, architecture: 4 } as const;

/** What a conditional jump can skip: its offsets are bytes. */
export const MAX_SKIP = 255;
const BYTES = 8;
const [JUMP_CLASS, RETURN_CLASS, CLASS_MASK] = [5, 6, 7];

export function decodeProgram(bytes: Buffer): Instruction[] {
  return Array.from({ length: Math.floor(bytes.length / BYTES) }, (_, index) => {
    const at = index * BYTES;
    return {
      code: bytes.readUInt16LE(at),
      jt: bytes[at + 2] ?? 0,
      jf: bytes[at + 3] ?? 0,
      k: bytes.readUInt32LE(at + 4),
    };
  });
}

export function encodeProgram(program: readonly Instruction[]): Buffer {
  const bytes = Buffer.alloc(program.length * BYTES);
  for (const [index, { code, jt, jf, k }] of program.entries()) {
    bytes.writeUInt16LE(code, index * BYTES);
    bytes.set([jt, jf], index * BYTES + 2);
    bytes.writeUInt32LE(k, index * BYTES + 4);
  }
  return bytes;
}

/** Where a program can go on after its instruction `at`; all jumps lead forward. */
export function successors({ code, jt, jf, k }: Instruction, at: number): number[] {
  if (code === OP.jump) return [at + 1 + k];
  if ((code & CLASS_MASK) === JUMP_CLASS) return [at + 1 + jt, at + 1 + jf];
  return (code & CLASS_MASK) === RETURN_CLASS ? [] : [at + 1];
}
