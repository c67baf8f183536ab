'use strict';
// Builds each function's zip (`realtime-kit build` does the same) where `osls` would collect files
// itself, so that `osls package` and `osls deploy` are one step. Settings: `custom.realtimeKit` in
// serverless.yml; PYTHON names an interpreter, any from 3.11 on, that has realtime-kit.
const { spawnSync } = require('node:child_process');
const path = require('node:path');

module.exports = class RealtimeKitPackage {
  constructor(serverless, options, { log }) {
    const build = () => this.build(serverless, options, log);
    this.hooks = {
      'before:package:createDeploymentArtifacts': build,
      'before:package:function:package': build,
    };
  }

  build(serverless, options, log) {
    const { service, serviceDir } = serverless;
    const { provider, extras = [], include = ['lambdas'] } = service.custom.realtimeKit;
    const { runtime, architecture = 'x86_64' } = service.provider;
    const output = path.join(serviceDir, '.serverless');
    const handlers = {};
    for (const [name, fn] of Object.entries(service.functions)) {
      if (options.function && options.function !== name) continue;
      if (!fn.handler || fn.package?.artifact || !(fn.runtime ?? runtime).startsWith('python')) continue;
      if ((fn.runtime ?? runtime) !== runtime || (fn.architecture ?? architecture) !== architecture)
        throw new serverless.classes.Error(`${name} has a runtime or architecture of its own: set the provider's`);
      handlers[name] = fn.handler;
      // individually: without it `deploy` looks for one zip of the whole service, and gives up.
      const artifact = path.join(output, `${name}.zip`);
      fn.package = { ...fn.package, individually: true, artifact };
    }
    const python = process.env.PYTHON || 'python3';
    const wanted = {
      provider, extras, include, output, functions: handlers,
      arch: architecture, python: runtime.replace('python', ''),
    };
    const done = spawnSync(python, ['-m', 'realtime_kit.deployment'], {
      cwd: serviceDir,
      encoding: 'utf8',
      input: JSON.stringify(wanted),
    });
    if (done.error || done.status !== 0) {
      const why = done.error ? `${python}: ${done.error.message}` : done.stderr.trim();
      throw new serverless.classes.Error(`the functions could not be packaged: ${why}`);
    }
    log.notice(done.stdout.trim());
  }
};
