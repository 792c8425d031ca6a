// What a step depends on, as one text: steps with equal keys make equal layers.
import { createHash } from 'node:crypto';
import type { Digest } from '../../oci/digest.ts';
import type { CopyOperation, Operation, RunMount } from '../operations.ts';

/** Bumped when the same operation begins to make another layer. */
const VERSION = 1;

export interface StepInput {
  /** Chain id of what lies below; undefined = nothing. */
  readonly parent: Digest | undefined;
  readonly platform: string;
  /** SOURCE_DATE_EPOCH where it is set: it is in the times of the layer. */
  readonly epochSeconds?: number | undefined;
  /** Whether a command has more of the network than loopback. */
  readonly isConnected?: boolean;
  readonly operation: Operation;
  /** Digest of the files that a COPY or an ADD takes, names and modes included. */
  readonly files?: string;
  /** The same of each bind mount's source, and of the initial content of caches, in the order of the mounts. */
  readonly mounts?: readonly (string | undefined)[];
}

/**
 * 64 hex digits. No value of a secret is in it, and no name of an image or a stage that only says where equal files
 * came from: an image that was pulled cannot give itself a key either (CVE-2024-24557), as nothing of what images say of
 * their history is looked at.
 */
export function stepKey(input: StepInput): string {
  const { operation } = input;
  // A linked copy is the same layer whatever lies below, unless it asks there for the ids of names.
  const parent = dependsOnParent(operation) ? (input.parent ?? '') : 'link';
  const text = JSON.stringify([VERSION, input.platform, input.epochSeconds, parent, essence(input)]);
  return createHash('sha256').update(text).digest('hex');
}

function dependsOnParent(operation: Operation): boolean {
  return operation.kind !== 'copy' || !operation.link || looksUpNames(operation);
}

/** Whether the owner is given by names, whose ids only the stage's own files tell. */
export const looksUpNames = ({ chown }: CopyOperation): boolean => /[^\d:]/.test(chown ?? '');

function essence({ operation, files, mounts, isConnected = false }: StepInput): unknown {
  if (operation.kind === 'workdir') return ['workdir', operation.path, operation.user];
  if (operation.kind === 'copy') {
    const { destination, chown, chmod, link, parents, unpack, keepGitDir, instruction } = operation;
    return ['copy', instruction, files, destination, chown, chmod, link, parents, unpack, keepGitDir];
  }
  const { args, env, cwd, user, volumes, script } = operation;
  const mounted = operation.mounts.map((mount, index) => [essenceOfMount(mount), mounts?.[index]]);
  return ['run', args, env, cwd, user, isConnected, volumes, script?.name, script?.content, mounted];
}

function essenceOfMount(mount: RunMount): unknown {
  switch (mount.type) {
    case 'bind':
      return [mount.type, mount.target, mount.isWritable];
    case 'cache':
      return [mount.type, mount.target, mount.id, mount.isReadOnly, mount.mode, mount.uid, mount.gid];
    case 'tmpfs':
      return [mount.type, mount.target, mount.sizeBytes];
    default:
      return [mount.type, mount.id, mount.target, mount.env, mount.mode, mount.uid, mount.gid];
  }
}
