// The recorded facts: what each builder made of each case of the corpus, as JSON beside the corpus.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { BuildCase, PeerId } from './corpus.ts';
import type { HistoryFacts, ImageFacts } from './image-facts.ts';

/** What builders that agree made of a case. */
export type Outcome = { readonly of: readonly Recorder[] } & (ImageFacts | { readonly failure: string });

/** `reference`: written by hand from the Dockerfile reference, because no builder could be asked. */
export type Recorder = PeerId | 'reference';

export interface RecordedCase {
  readonly peers: Readonly<Partial<Record<PeerId, string>>>;
  /** In the order of PEERS. */
  readonly outcomes: readonly Outcome[];
  readonly history: Readonly<Partial<Record<PeerId, HistoryFacts>>>;
}

const fileOf = (name: string): string =>
  fileURLToPath(new URL(`../../conformance/build/facts/${name}.json`, import.meta.url));

/** Undefined when nobody was asked yet. */
export function readRecorded(name: string): RecordedCase | undefined {
  const file = fileOf(name);
  return existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as RecordedCase) : undefined;
}

/** Replaces what is recorded of a case. */
export function writeRecorded(name: string, recorded: RecordedCase): void {
  const file = fileOf(name);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, `${JSON.stringify(recorded, undefined, 2)}\n`);
}

/** Who is believed first where builders differ: the newest docker build. */
const TRUST: readonly Recorder[] = ['reference', 'buildkit', 'docker-buildkit', 'docker', 'buildah'];

/** The image that a case has to make: that of who is followed, else of the first in TRUST that built it. */
export function expectedOf({ follow }: BuildCase, { outcomes }: RecordedCase): (Outcome & ImageFacts) | undefined {
  for (const recorder of follow === undefined ? TRUST : [follow]) {
    const outcome = outcomes.find(({ of }) => of.includes(recorder));
    if (outcome !== undefined && !('failure' in outcome)) return outcome;
  }
  return undefined;
}
