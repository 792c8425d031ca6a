// What one instruction makes of a stage.
import type { Instruction, Warning } from '../dockerfile/ast.ts';
import { evaluateAdd } from './add.ts';
import { evaluateArg } from './arg.ts';
import { evaluateCmd } from './cmd.ts';
import { evaluateCopy } from './copy.ts';
import { evaluateEntrypoint } from './entrypoint.ts';
import { evaluateEnv } from './env.ts';
import { evaluateExpose } from './expose.ts';
import { evaluateHealthcheck } from './healthcheck.ts';
import { evaluateLabel } from './label.ts';
import { evaluateMaintainer } from './maintainer.ts';
import { evaluateOnbuild } from './onbuild.ts';
import { evaluateRun } from './run.ts';
import { type Change, createScope, type Scope } from './scope.ts';
import { evaluateShell } from './shell.ts';
import type { Evaluated, StageState } from './stage-state.ts';
import { evaluateStopsignal } from './stopsignal.ts';
import { evaluateUser } from './user.ts';
import { evaluateVolume } from './volume.ts';
import { evaluateWorkdir } from './workdir.ts';

const SUMMARY_LENGTH = 80;

/**
 * Evaluates the next instruction of a stage: its words are expanded with the ARGs and ENVs so far, which is BuildKit's
 * way for each kind of instruction, and everything about it is checked that needs no file. Pure: the same state and
 * instruction give the same. Throws Invalid with the place of the instruction.
 */
export function evaluate(state: StageState, instruction: Instruction): Evaluated {
  const warnings: Warning[] = [];
  const change = changeBy(instruction, createScope(state, instruction, warnings));
  return { ...change, text: describe(state, instruction), warnings };
}

function changeBy(instruction: Instruction, scope: Scope): Change {
  switch (instruction.kind) {
    case 'ADD':
      return evaluateAdd(instruction, scope);
    case 'ARG':
      return evaluateArg(instruction, scope);
    case 'CMD':
      return evaluateCmd(instruction, scope);
    case 'COPY':
      return evaluateCopy(instruction, scope);
    case 'ENTRYPOINT':
      return evaluateEntrypoint(instruction, scope);
    case 'ENV':
      return evaluateEnv(instruction, scope);
    case 'EXPOSE':
      return evaluateExpose(instruction, scope);
    case 'HEALTHCHECK':
      return evaluateHealthcheck(instruction, scope);
    case 'LABEL':
      return evaluateLabel(instruction, scope);
    case 'MAINTAINER':
      return evaluateMaintainer(instruction, scope);
    case 'ONBUILD':
      return evaluateOnbuild(instruction, scope);
    case 'RUN':
      return evaluateRun(instruction, scope);
    case 'SHELL':
      return evaluateShell(instruction, scope);
    case 'STOPSIGNAL':
      return evaluateStopsignal(instruction, scope);
    case 'USER':
      return evaluateUser(instruction, scope);
    case 'VOLUME':
      return evaluateVolume(instruction, scope);
    case 'WORKDIR':
      return evaluateWorkdir(instruction, scope);
  }
}

/** As written, so that no value of an argument gets into the log; a here-document by its first line. */
function describe(state: StageState, instruction: Instruction): string {
  const { kind, keyword, text, heredocs } = instruction;
  const [document] = kind === 'RUN' ? heredocs : [];
  const [first = '', ...others] = document?.content.trim().split(/\r?\n/) ?? [];
  const isCut = others.length > 0 || first.length > SUMMARY_LENGTH;
  const summary = document === undefined ? '' : ` (${first.slice(0, SUMMARY_LENGTH)}${isCut ? '...' : ''})`;
  return `${state.triggers.includes(instruction) ? 'ONBUILD ' : ''}${kind}${text.slice(keyword.length)}${summary}`;
}
