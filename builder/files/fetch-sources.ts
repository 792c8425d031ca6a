// The sources of a COPY or an ADD as places on this machine: URLs and repositories are fetched first.
import { mkdtemp, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { WindlassError } from '../../lib/errors.ts';
import { isGitUrl, parseGitUrl } from '../../lib/git-url.ts';
import { withoutSecrets } from '../../lib/shown-url.ts';
import type { CopyOperation } from '../operations.ts';
import type { ResolveOptions, SourceTree } from './builder-files.ts';
import { fetchGit } from './fetch-git.ts';
import { fetchUrl, fileNameOf, isHttpUrl } from './fetch-url.ts';
import type { SourceRequest } from './plan-copy.ts';

/**
 * Fetches what ADD's sources name. Throws Invalid for a URL as a source of COPY, another scheme than http, https and
 * git's, or a checksum of something that is not fetched.
 */
export async function fetchSources(
  operation: CopyOperation,
  tree: SourceTree,
  options: ResolveOptions,
): Promise<SourceRequest[]> {
  const requests: SourceRequest[] = [];
  for (const source of operation.sources) requests.push(await fetchSource(operation, source, tree, options));
  return requests;
}

async function fetchSource(
  operation: CopyOperation,
  source: string,
  tree: SourceTree,
  options: ResolveOptions,
): Promise<SourceRequest> {
  const { instruction, checksum } = operation;
  const isGit = isGitUrl(source);
  if (isGit || isHttpUrl(source)) {
    const shown = withoutSecrets(source);
    if (instruction !== 'ADD') throw new WindlassError('Invalid', `COPY cannot take ${shown}: only ADD fetches`);
    if (checksum !== undefined && operation.sources.length > 1) {
      throw new WindlassError('Invalid', 'a checksum is of one source, and there are several');
    }
    options.onLog?.(`fetching ${shown}`);
    return isGit ? await fetchRepository(operation, source, options) : await fetchFile(operation, source, options);
  }
  if (/^[a-z][a-z0-9+.-]*:\/\//i.test(source)) {
    throw new WindlassError('Invalid', `source ${JSON.stringify(source)}: want an http, https or git URL, or a path`);
  }
  if (checksum !== undefined) {
    throw new WindlassError('Invalid', `a checksum is of a URL, which ${JSON.stringify(source)} is not`);
  }
  return { tree, pattern: source, isUnpacked: instruction === 'ADD' && operation.unpack !== false };
}

async function fetchFile(operation: CopyOperation, url: string, options: ResolveOptions): Promise<SourceRequest> {
  const name = fileNameOf(url);
  const label = withoutSecrets(url);
  if (name === undefined && operation.destination.endsWith('/')) {
    throw new WindlassError('Invalid', `${label} has no file name, so the destination cannot be a folder`);
  }
  const root = await mkdtemp(join(options.workDir, 'fetch-'));
  const target = join(root, name ?? 'file');
  const { modifiedSeconds } = await fetchUrl(url, { target, checksum: operation.checksum, signal: options.signal });
  await utimes(target, modifiedSeconds, modifiedSeconds);
  // The name is one file's, whatever characters it has.
  const pattern = (name ?? 'file').replaceAll(/[\\*?[]/g, '\\$&');
  return { tree: { root, label, isContext: true, ignore: [] }, pattern, isUnpacked: operation.unpack === true };
}

async function fetchRepository(
  operation: CopyOperation,
  source: string,
  options: ResolveOptions,
): Promise<SourceRequest> {
  const { workDir, signal, onLog } = options;
  const { checksum, keepGitDir } = operation;
  const checkout = await fetchGit(parseGitUrl(source, { allowsLocal: false }), {
    workDir,
    keepGitDir,
    checksum,
    signal,
  });
  onLog?.(`commit ${checkout.commit}`);
  const tree: SourceTree = {
    root: checkout.root,
    label: withoutSecrets(source),
    isContext: true,
    ignore: [],
    times: checkout.commitSeconds,
    hasGitModes: true,
  };
  return { tree, pattern: '.', isUnpacked: false };
}
