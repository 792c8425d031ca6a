// What the kernel does with a seccomp filter: classic BPF over struct seccomp_data, as far as libseccomp writes it.
import type { Instruction } from '../../runtime-shim/oci-runtime/filter-program.ts';

export interface Call {
  readonly number: number;
  readonly architecture: number;
  /** The words after number, architecture and instruction pointer: low and high half of each argument. */
  readonly words: readonly number[];
}

/** What the filter returns for the call. Throws RangeError where it runs past its end, or has an unknown instruction. */
export function runFilter(program: readonly Instruction[], { number, architecture, words }: Call): number {
  const data = [number, architecture, 0, 0, ...words];
  let [at, value] = [0, 0];
  for (;;) {
    const { code, jt, jf, k } = program[at] ?? { code: -1, jt: 0, jf: 0, k: 0 };
    at += 1;
    switch (code) {
      case 0x20:
        value = data[k / 4] ?? 0;
        break;
      case 0x54:
        value = (value & k) >>> 0;
        break;
      case 0x05:
        at += k;
        break;
      case 0x15:
        at += value === k ? jt : jf;
        break;
      case 0x25:
        at += value > k ? jt : jf;
        break;
      case 0x35:
        at += value >= k ? jt : jf;
        break;
      case 0x45:
        at += (value & k) === 0 ? jf : jt;
        break;
      case 0x06:
        return k;
      default:
        throw new RangeError(`instruction ${at - 1}: ${code}`);
    }
  }
}
