// What a further program in a container needs to know of its specification. A file of that size is most of what the shim
// itself does for an exec, so that of the containers made or used last is kept.
import { readFileSync } from 'node:fs';
import { bundleFiles } from './conmon.ts';
import { parseSpec, type OciSpec } from './oci-spec.ts';

/** About 3 KB each. */
const MAX_KNOWN = 64;

export interface ExecSpec {
  readonly process: OciSpec['process'];
  readonly root: OciSpec['root'];
  readonly linux: Pick<OciSpec['linux'], 'cgroupsPath' | 'resources'>;
}

export interface KnownSpecs {
  /** Keeps that of a container that was just made: its specification does not change any more. */
  note(bundle: string, spec: ExecSpec): void;
  /** Kept, or read from the bundle. */
  of(bundle: string): ExecSpec;
}

export function createKnownSpecs(): KnownSpecs {
  const known = new Map<string, ExecSpec>();
  const note = (bundle: string, { process, root, linux: { cgroupsPath, resources } }: ExecSpec): ExecSpec => {
    const spec = { process, root, linux: { cgroupsPath, resources } };
    // Put at the end: the first one is then the one that was not used for longest.
    known.delete(bundle);
    known.set(bundle, spec);
    for (const [oldest] of known) {
      if (known.size <= MAX_KNOWN) break;
      known.delete(oldest);
    }
    return spec;
  };
  return {
    note: (bundle, spec) => void note(bundle, spec),
    of: (bundle) => note(bundle, known.get(bundle) ?? parseSpec(readFileSync(bundleFiles.config(bundle), 'utf8'))),
  };
}
