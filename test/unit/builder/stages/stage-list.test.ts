import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseDockerfile } from '../../../../builder/dockerfile/parse.ts';
import { listStages, orNoStage } from '../../../../builder/stages/stage-list.ts';
import { WindlassError } from '../../../../lib/errors.ts';

const stagesOf = (text: string) => parseDockerfile(Buffer.from(text), 'Dockerfile').stages;

test('listStages() tells names and numbers, and when there is no name', () => {
  assert.equal(listStages(stagesOf('FROM a AS Build\nFROM b\n')), 'the file has build (0), 1');
  assert.equal(listStages(stagesOf('FROM a\n')), 'the file has no named stage, only stage 0');
  assert.equal(listStages(stagesOf('FROM a\nFROM b\n')), 'the file has no named stage, only stages 0 to 1');
  const many = Array.from({ length: 30 }, (_, index) => `FROM a AS s${index}\n`).join('');
  assert.match(listStages(stagesOf(many)), /, s19 \(19\), \.\.\.$/);
});

test('orNoStage() adds the stages to the failure to get what may have been meant as one', () => {
  const stages = stagesOf('FROM a AS build\nFROM b\n');
  const error = new WindlassError('NotFound', 'it is not there', { details: { status: 404 } });
  const told = orNoStage(error, 'docker.io/library/biuld:latest', stages) as WindlassError;
  assert.equal(told.message, 'it is not there; nor is there a stage "biuld": the file has build (0), 1');
  assert.deepEqual([told.reason, told.details, told.cause], ['NotFound', { status: 404 }, error]);
  for (const reference of [
    'docker.io/library/biuld:1',
    'docker.io/shop/biuld:latest',
    'quay.io/library/biuld:latest',
  ]) {
    assert.equal(orNoStage(error, reference, stages), error);
  }
});
