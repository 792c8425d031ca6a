// Checks what a record file holds. Only what the calls use without a further look: a record that passes can be listed,
// stopped and removed, whoever wrote it.
import { z } from 'zod';
import type { ContainerRecord, SandboxRecord } from './records.ts';

const id = z.string().regex(/^[0-9a-f]{64}$/);
const identity = z.object({ pid: z.int().positive(), startTime: z.number() });
const texts = z.record(z.string(), z.string());
const metadata = z.looseObject({ name: z.string().min(1) });
const path = z.string().startsWith('/');
const time = z.number().nonnegative();

const Sandbox = z.looseObject({
  id,
  phase: z.enum(['creating', 'ready', 'stopped']),
  config: z.looseObject({ metadata, labels: texts, annotations: texts }),
  runtimeHandler: z.string(),
  createdAtMs: time,
  hostname: z.string(),
  directory: path,
  namespaces: z.looseObject({ net: path.optional(), ipc: path.optional(), uts: path.optional() }),
});

const Container = z.looseObject({
  id,
  sandboxId: id,
  phase: z.enum(['creating', 'created', 'running', 'exited', 'removing']),
  config: z.looseObject({ metadata, labels: texts, annotations: texts, mounts: z.array(z.looseObject({})) }),
  imageId: z.string(),
  imageRef: z.string(),
  bundle: path,
  cgroupsPath: path,
  createdAtMs: time,
  startedAtMs: time,
  finishedAtMs: time,
  exitCode: z.int(),
  reason: z.string(),
  message: z.string(),
  stopSignal: z.int(),
  init: identity.optional(),
  conmon: identity.optional(),
});

/** The record of a sandbox; throws when it is not one. */
export const parseSandboxRecord = (value: unknown): SandboxRecord => Sandbox.parse(value) as unknown as SandboxRecord;

/** The record of a container; throws when it is not one. */
export const parseContainerRecord = (value: unknown): ContainerRecord =>
  Container.parse(value) as unknown as ContainerRecord;
