// The parts of the OCI runtime configuration (config.json) that windlass writes.
import type { SeccompProfile } from './seccomp-profile.ts';

export interface OciMount {
  readonly destination: string;
  readonly type?: string;
  readonly source?: string;
  readonly options: readonly string[];
}

export interface OciRlimit {
  readonly type: string;
  readonly soft: number;
  readonly hard: number;
}

export interface OciProcess {
  readonly terminal: boolean;
  readonly user: {
    readonly uid: number;
    readonly gid: number;
    readonly additionalGids: readonly number[];
    readonly umask?: number;
  };
  readonly args: readonly string[];
  readonly env: readonly string[];
  readonly cwd: string;
  readonly capabilities: {
    readonly bounding: readonly string[];
    readonly effective: readonly string[];
    readonly permitted: readonly string[];
    readonly inheritable: readonly string[];
    readonly ambient: readonly string[];
  };
  readonly rlimits?: readonly OciRlimit[];
  readonly noNewPrivileges: boolean;
  readonly oomScoreAdj?: number;
}

export interface OciDevice {
  readonly path: string;
  readonly type: 'c' | 'b';
  readonly major: number;
  readonly minor: number;
  readonly fileMode?: number;
  readonly uid?: number;
  readonly gid?: number;
}

export interface OciDeviceRule {
  readonly allow: boolean;
  readonly type?: 'a' | 'c' | 'b';
  readonly major?: number;
  readonly minor?: number;
  readonly access: string;
}

/** A range of ids: those of the container from `containerID` on are those of the host from `hostID` on. */
export interface OciIdMapping {
  readonly containerID: number;
  readonly hostID: number;
  readonly size: number;
}

export interface UserMapping {
  readonly uids: readonly OciIdMapping[];
  readonly gids: readonly OciIdMapping[];
}

export interface OciSpec {
  readonly ociVersion: string;
  readonly process: OciProcess;
  readonly root: { readonly path: string; readonly readonly: boolean };
  /** Of a uts namespace that is made with the container. */
  readonly hostname?: string;
  readonly mounts: readonly OciMount[];
  readonly annotations?: Readonly<Record<string, string>>;
  readonly linux: {
    readonly namespaces: readonly { readonly type: string; readonly path?: string }[];
    readonly uidMappings?: readonly OciIdMapping[];
    readonly gidMappings?: readonly OciIdMapping[];
    readonly devices: readonly OciDevice[];
    readonly cgroupsPath: string;
    readonly resources: object;
    readonly sysctl: Readonly<Record<string, string>>;
    readonly maskedPaths: readonly string[];
    readonly readonlyPaths: readonly string[];
    readonly rootfsPropagation?: string;
    readonly seccomp?: SeccompProfile;
  };
}

export const UNLIMITED = -1;

/** JSON of a specification, or of its process. An rlimit of UNLIMITED becomes 2^64-1, which a JavaScript number cannot hold. */
export function stringifySpec(spec: OciSpec | OciProcess): string {
  return JSON.stringify(spec).replaceAll(/"(soft|hard)":-1\b/g, '"$1":18446744073709551615');
}

/** A specification from the text that stringifySpec() made of it. */
export function parseSpec(text: string): OciSpec {
  return JSON.parse(text.replaceAll(/"(soft|hard)":18446744073709551615\b/g, '"$1":-1')) as OciSpec;
}
