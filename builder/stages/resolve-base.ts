// What a stage is built on: its FROM line with the arguments of the global scope.
import { closestWord } from '../../lib/closest-word.ts';
import type { Platform } from '../../oci/manifest.ts';
import { platformName } from '../../oci/platform.ts';
import type { Dockerfile, Stage } from '../dockerfile/ast.ts';
import { expand, type Expanded } from '../dockerfile/expand.ts';
import { Problem, withPlace } from '../dockerfile/problem.ts';
import { dockerfileError, quote } from '../dockerfile/syntax-error.ts';
import { parsePlatform } from './parse-platform.ts';
import { toReference } from './resolve-from.ts';
import type { PlannedStage, StageBase } from './stage-plan.ts';

export interface BaseContext {
  readonly dockerfile: Dockerfile;
  readonly globals: ReadonlyMap<string, string>;
  /** The globals of a build that is asked with no arguments. */
  readonly defaults: ReadonlyMap<string, string>;
  /** The stages before this one. */
  readonly earlier: { readonly stages: readonly PlannedStage[]; readonly byName: ReadonlyMap<string, number> };
  readonly targetPlatform: Platform;
  warn(rule: string, message: string): void;
}

/** Base and platform of a stage. Throws Invalid for an empty or impossible one. */
export function resolveBase({ from }: Stage, context: BaseContext): { base: StageBase; platform: Platform } {
  const { dockerfile, globals, earlier, targetPlatform, warn } = context;
  return withPlace(
    (problem, cause) => dockerfileError(dockerfile.file, from.position, problem, { instruction: from.text, cause }),
    () => {
      const name = expandArgs(from.base, context);
      if (name.text === '') throw new Problem(`the base ${quote(from.base)} is empty once it is expanded`);
      warnOfDefault(from.base, context);
      const wanted = from.platform === undefined ? undefined : resolvePlatform(from.platform, from.name, context);
      const index = earlier.byName.get(name.text.toLowerCase());
      const parent = index === undefined ? undefined : earlier.stages[index];
      if (index !== undefined && parent !== undefined) {
        if (wanted !== undefined && platformName(wanted) !== platformName(parent.platform)) {
          warn(
            'PlatformOfStage',
            `--platform has no effect: stage ${name.text} is for ${platformName(parent.platform)}`,
          );
        }
        return { base: { kind: 'stage', index }, platform: parent.platform };
      }
      if (name.text === 'scratch') return { base: { kind: 'scratch' }, platform: wanted ?? targetPlatform };
      return { base: { kind: 'image', reference: toReference(name.text) }, platform: wanted ?? targetPlatform };
    },
  );

  function resolvePlatform(
    written: string,
    stageName: string | undefined,
    { targetPlatform: target }: BaseContext,
  ): Platform {
    const value = expandArgs(written, context);
    if (value.text === '') throw new Problem(`--platform=${written} is empty once it is expanded`);
    const platform = parsePlatform(value.text);
    if (value.used.size === 1 && value.used.has('TARGETPLATFORM') && value.text === globals.get('TARGETPLATFORM')) {
      warn('RedundantTargetPlatform', `--platform=${written} is what FROM does without it`);
    }
    const isConstant = value.used.size === 0 && value.unset.size === 0;
    const isInName = stageName?.includes(platform.architecture) === true || stageName?.includes(platform.os) === true;
    if (isConstant && !isInName && platformName(platform) !== platformName(target)) {
      warn('FromPlatformFlagConstDisallowed', `--platform should not be a constant, but is ${quote(value.text)}`);
    }
    return platform;
  }
}

function expandArgs(word: string, { dockerfile, globals, warn }: BaseContext): Expanded {
  const expanded = withPlace(
    (problem, cause) => new Problem(`cannot expand ${quote(word)}: ${problem}`, { cause }),
    () => expand(word, { escape: dockerfile.escape, variables: globals }),
  );
  const declared = new Set(dockerfile.globalArgs.flatMap(({ args }) => args.map(({ name }) => name)));
  for (const name of expanded.unset) {
    if (declared.has(name)) continue;
    const meant = closestWord(name, [...globals.keys(), ...declared]);
    const hint = meant === undefined ? '' : `: did you mean ${meant}?`;
    warn('UndefinedArgInFrom', `argument ${name} is not declared before the first FROM${hint}`);
  }
  return expanded;
}

/** An image that nobody can build without arguments is easily broken without anyone seeing it. */
function warnOfDefault(word: string, { dockerfile, defaults, warn }: BaseContext): void {
  if (!word.includes('$')) return;
  try {
    toReference(expand(word, { escape: dockerfile.escape, variables: defaults }).text);
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    warn('InvalidDefaultArgInFrom', `${quote(word)} is no valid base when the build is given no arguments`);
  }
}
