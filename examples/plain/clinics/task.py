"""clinics: A Flower / PyTorch app."""

import numpy as np
import torch
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Net(nn.Module):
    """A small multilayer perceptron for the 30 features of a sample."""

    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(30, 16)
        self.fc2 = nn.Linear(16, 2)

    def forward(self, x):
        """Return the logits of both classes."""
        return self.fc2(torch.relu(self.fc1(x)))


def load_data(partition_id: int, num_partitions: int, batch_size: int):
    """Load this clinic's share of the data, scaled by its own mean and deviation."""
    x, y = load_breast_cancer(return_X_y=True)
    shares = np.array_split(np.random.default_rng(42).permutation(len(y)), num_partitions)
    share = shares[partition_id]
    x_train, x_test, y_train, y_test = train_test_split(x[share], y[share], test_size=0.2, random_state=42)
    scaler = StandardScaler().fit(x_train)
    trainset = TensorDataset(torch.tensor(scaler.transform(x_train), dtype=torch.float32), torch.tensor(y_train))
    testset = TensorDataset(torch.tensor(scaler.transform(x_test), dtype=torch.float32), torch.tensor(y_test))
    generator = torch.Generator().manual_seed(partition_id)
    trainloader = DataLoader(trainset, batch_size=batch_size, shuffle=True, generator=generator)
    return trainloader, DataLoader(testset, batch_size=batch_size)


def train(net, trainloader, epochs, lr, device):
    """Train the model on the training set and return the average loss."""
    net.to(device)
    net.train()
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(net.parameters(), lr=lr, momentum=0.9)
    running_loss = 0.0
    for _ in range(epochs):
        for features, labels in trainloader:
            optimizer.zero_grad()
            loss = criterion(net(features.to(device)), labels.to(device))
            loss.backward()
            optimizer.step()
            running_loss += loss.item()
    return running_loss / (epochs * len(trainloader))


def test(net, testloader, device):
    """Return the model's loss and accuracy on the test set."""
    net.to(device)
    net.eval()
    criterion = nn.CrossEntropyLoss(reduction="sum")
    loss, correct = 0.0, 0
    with torch.no_grad():
        for features, labels in testloader:
            outputs = net(features.to(device))
            loss += criterion(outputs, labels.to(device)).item()
            correct += (outputs.argmax(1) == labels.to(device)).sum().item()
    return loss / len(testloader.dataset), correct / len(testloader.dataset)
