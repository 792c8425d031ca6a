// What a Dockerfile says, before any word of it is expanded: one type per instruction, each with its place in the file.
import type { SourcePosition } from '../../runtime-shim/images/image-builder.ts';

/** Starts at 1; columns count UTF-16 code units, as editors do. */
export type Position = Omit<SourcePosition, 'file'>;

export type Escape = '\\' | '`';

/** A here-document: the lines after an instruction up to `name` alone on a line. */
export interface Heredoc {
  readonly name: string;
  /** The lines as they are in the file, each with its end. */
  readonly content: string;
  /** False when the name was quoted: `$` is a plain character in it. */
  readonly expands: boolean;
  /** `<<-`: leading tabs of each line do not count. */
  readonly stripsTabs: boolean;
}

/** `RUN ["a", "b"]`, or text for the shell of the stage. */
export type CommandForm =
  | { readonly form: 'exec'; readonly args: readonly string[] }
  | { readonly form: 'shell'; readonly line: string };

interface InstructionBase {
  /** Of the keyword. */
  readonly position: Position;
  /** Last line, here-documents included. */
  readonly endLine: number;
  /** As written, with continued lines joined, without here-documents. */
  readonly text: string;
  /** The keyword as written: `run`, `RUN`. */
  readonly keyword: string;
  /** Flags as written, without their dashes, in order. */
  readonly flags: readonly Flag[];
  readonly heredocs: readonly Heredoc[];
  /** Rules that a comment `# check=skip=...` above it turns off. */
  readonly skips: SkippedRules;
}

export interface Flag {
  readonly name: string;
  readonly value: string;
}

export type SkippedRules = 'all' | readonly string[];

export interface KeyValue {
  readonly key: string;
  readonly value: string;
}

/** What COPY and ADD share. */
interface FilesBase extends InstructionBase {
  /** Not expanded, quotes kept unless the JSON form was used; without here-documents. */
  readonly sources: readonly string[];
  readonly destination: string;
  readonly chown?: string;
  readonly chmod?: string;
  readonly link: boolean;
  readonly exclude: readonly string[];
}

export interface FromInstruction extends InstructionBase {
  readonly kind: 'FROM';
  readonly base: string;
  /** In lower case. */
  readonly name?: string;
  readonly platform?: string;
}
export interface ArgInstruction extends InstructionBase {
  readonly kind: 'ARG';
  readonly args: readonly { readonly name: string; readonly value?: string }[];
}
export interface EnvInstruction extends InstructionBase {
  readonly kind: 'ENV';
  readonly pairs: readonly KeyValue[];
  /** `ENV KEY value with blanks`. */
  readonly isLegacy: boolean;
}
export interface LabelInstruction extends InstructionBase {
  readonly kind: 'LABEL';
  readonly pairs: readonly KeyValue[];
  readonly isLegacy: boolean;
}
export interface RunInstruction extends InstructionBase {
  readonly kind: 'RUN';
  readonly command: CommandForm;
  /** Values of `--mount`, not expanded. */
  readonly mounts: readonly string[];
  readonly network?: string;
}
export interface CopyInstruction extends FilesBase {
  readonly kind: 'COPY';
  readonly from?: string;
  readonly parents: boolean;
}
export interface AddInstruction extends FilesBase {
  readonly kind: 'ADD';
  readonly checksum?: string;
  readonly keepGitDir?: boolean;
  readonly unpack?: boolean;
}
export interface CmdInstruction extends InstructionBase {
  readonly kind: 'CMD';
  readonly command: CommandForm;
}
export interface EntrypointInstruction extends InstructionBase {
  readonly kind: 'ENTRYPOINT';
  readonly command: CommandForm;
}
export interface ExposeInstruction extends InstructionBase {
  readonly kind: 'EXPOSE';
  readonly ports: readonly string[];
}
export interface HealthcheckInstruction extends InstructionBase {
  readonly kind: 'HEALTHCHECK';
  /** Absent for NONE. Times in nanoseconds, 0 = inherited. */
  readonly check?: {
    readonly command: CommandForm;
    readonly interval: number;
    readonly timeout: number;
    readonly startPeriod: number;
    readonly startInterval: number;
    readonly retries: number;
  };
}
export interface MaintainerInstruction extends InstructionBase {
  readonly kind: 'MAINTAINER';
  readonly name: string;
}
export interface OnbuildInstruction extends InstructionBase {
  readonly kind: 'ONBUILD';
  readonly trigger: Instruction;
  /** The trigger as images carry it, here-documents included. */
  readonly source: string;
}
export interface ShellInstruction extends InstructionBase {
  readonly kind: 'SHELL';
  readonly shell: readonly string[];
}
export interface StopsignalInstruction extends InstructionBase {
  readonly kind: 'STOPSIGNAL';
  readonly signal: string;
}
export interface UserInstruction extends InstructionBase {
  readonly kind: 'USER';
  readonly user: string;
}
export interface VolumeInstruction extends InstructionBase {
  readonly kind: 'VOLUME';
  readonly paths: readonly string[];
}
export interface WorkdirInstruction extends InstructionBase {
  readonly kind: 'WORKDIR';
  readonly path: string;
}

/** Whatever may stand in a stage after its FROM. */
export type Instruction =
  | AddInstruction
  | ArgInstruction
  | CmdInstruction
  | CopyInstruction
  | EntrypointInstruction
  | EnvInstruction
  | ExposeInstruction
  | HealthcheckInstruction
  | LabelInstruction
  | MaintainerInstruction
  | OnbuildInstruction
  | RunInstruction
  | ShellInstruction
  | StopsignalInstruction
  | UserInstruction
  | VolumeInstruction
  | WorkdirInstruction;

export interface Stage {
  readonly index: number;
  readonly from: FromInstruction;
  readonly instructions: readonly Instruction[];
}

/** Something that is understood but probably not meant. */
export interface Warning {
  /** BuildKit's name of the rule where it has one, e.g. `JSONArgsRecommended`. */
  readonly rule: string;
  readonly message: string;
  readonly position: SourcePosition;
}

/** `# check=skip=...;error=true`. */
export interface Checks {
  readonly skips: SkippedRules;
  /** Warnings fail the build. */
  readonly isError: boolean;
}

export interface Dockerfile {
  /** As errors name it. */
  readonly file: string;
  /** What `# syntax=` names, if it is there. */
  readonly syntax?: string;
  readonly escape: Escape;
  readonly checks: Checks;
  /** ARGs before the first FROM. */
  readonly globalArgs: readonly ArgInstruction[];
  /** At least one. */
  readonly stages: readonly Stage[];
  readonly warnings: readonly Warning[];
}
