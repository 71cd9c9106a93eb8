import os
import pprint
import sys
import time
import uuid

from rafiki.client import Client
from rafiki.config import SUPERADMIN_EMAIL, SUPERADMIN_PASSWORD
from rafiki.constants import Budget, BudgetOption, InferenceBudget, InferenceBudgetOption, ModelAccessRight, \
                                ModelDependencies, TrainJobStatus, UserType
from rafiki.client import predict


def run_lookup(csv_path):
    client = Client()
    assert client.get_current_user() is None
    user = client.login(SUPERADMIN_EMAIL, SUPERADMIN_PASSWORD)
    assert user['user_type'] == UserType.SUPERADMIN
    assert client.get_current_user()['id'] == user['id']

    task = 'TABULAR_CLASSIFICATION'
    dataset = client.create_dataset('lookup', task, csv_path)
    dependencies: ModelDependencies = {}
    name = 'lookup_{}'.format(uuid.uuid4().hex[:6])
    here = os.path.dirname(os.path.abspath(__file__))
    model = client.create_model(name, task, os.path.join(here, 'arch_lookup.py'), 'ArchLookup',
                                dependencies=dependencies, access_right=ModelAccessRight.PRIVATE)

    # Each of these should be refused by its name
    for (error, call) in [
        ('InvalidModelError', lambda: client.get_model('no-such-model')),
        ('InvalidTrainJobError', lambda: client.get_train_job('no-such-app')),
    ]:
        try:
            call()
        except Exception as e:
            assert error in str(e), str(e)
        else:
            raise Exception('Not refused: {}'.format(error))

    budget: Budget = {BudgetOption.TIME_HOURS: '0.1', BudgetOption.MODEL_TRIAL_COUNT: '12', 'ENABLE_GPU': 0}
    app = 'lookup_app'
    train_job = client.create_train_job(app, task, dataset['id'], dataset['id'], budget, models=[model['id']])
    pprint.pprint(train_job)
    while client.get_train_job(app)['status'] not in [TrainJobStatus.STOPPED, TrainJobStatus.ERRORED]:
        time.sleep(0.2)

    trials = client.get_best_trials_of_train_job(app, max_count=1)
    params = client.get_trial_parameters(trials[0]['id'])
    assert params['target'] is None and params['order'] == (1, ['a', b'\x00\xff'], None)
    assert all(isinstance(i, int) for i in params['tables'])
    pprint.pprint(trials[0]['proposal']['knobs'])

    inference_budget: InferenceBudget = {InferenceBudgetOption.GPU_COUNT: '0'}
    host = client.create_inference_job(app, budget=inference_budget)['predictor_host']
    predictions = predict(host, queries=[{'a': 'x', 'b': '1', 'c': 'p'}, {'a': 'y', 'b': '2', 'c': 'q'}])['predictions']
    print('Predictions: {}'.format([max(range(len(p)), key=p.__getitem__) for p in predictions]))
    client.stop_inference_job(app)
    try:
        client.get_running_inference_job(app)
    except Exception as e:
        assert 'InvalidRunningInferenceJobError' in str(e), str(e)
    else:
        raise Exception('Still running')


if __name__ == '__main__':
    run_lookup(sys.argv[1])
